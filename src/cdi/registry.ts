// SPDX-License-Identifier: Apache-2.0
import { readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { readSmallFile } from "../lib/small-file.ts";
import { type CdiEdits, type CdiSpec, parseCdiSpec } from "./spec.ts";

/** Far more than any machine has devices for; a directory or file beyond it is a mistake. */
const FILES_LIMIT = 256;
const FILE_LIMIT_BYTES = 1024 * 1024;

/** The edits that one device, or what all devices of its file have in common, asks for. */
export interface SourcedEdits {
  readonly file: string;
  readonly edits: CdiEdits;
}

/** The devices that the files of a machine describe. */
export interface CdiRegistry {
  /**
   * The edits for the devices with these qualified names, in order; those common to a file come once, before
   * the first of its devices. FailedPreconditionError names every device that there is no edit for.
   */
  editsFor(names: readonly string[]): SourcedEdits[];
  /** Files that are no specification, and devices that two files of one directory describe. */
  readonly problems: readonly string[];
}

interface Source {
  readonly file: string;
  readonly spec: CdiSpec;
}

interface Found {
  readonly source: Source;
  readonly edits: CdiEdits;
  /** Of its directory; a later one wins. */
  readonly priority: number;
  /** Another file of the same directory has it too, so that nobody can tell which is meant. */
  readonly isAmbiguous: boolean;
}

/** Reads the specifications in `directories`; of two with the same device, the one in the later directory counts. */
export async function readCdiRegistry(directories: readonly string[]): Promise<CdiRegistry> {
  const problems: string[] = [];
  const devices = new Map<string, Found>();
  for (const [priority, directory] of directories.entries()) {
    for (const file of await specFiles(directory, problems)) {
      const spec = readSpec(file, problems);
      for (const { name, containerEdits } of spec?.devices ?? []) {
        const source = { file, spec: spec as CdiSpec };
        const found = { source, edits: containerEdits, priority, isAmbiguous: false };
        addDevice(devices, `${source.spec.kind}=${name}`, found, problems);
      }
    }
  }
  return { editsFor: (names) => editsFor(devices, names, directories, problems), problems };
}

function addDevice(devices: Map<string, Found>, name: string, found: Found, problems: string[]): void {
  const other = devices.get(name);
  if (other === undefined || other.priority < found.priority) {
    devices.set(name, found);
    return;
  }
  devices.set(name, { ...other, isAmbiguous: true });
  problems.push(`${name} is both in ${other.source.file} and in ${found.source.file}`);
}

function editsFor(
  devices: ReadonlyMap<string, Found>,
  names: readonly string[],
  directories: readonly string[],
  problems: readonly string[],
): SourcedEdits[] {
  const unknown = names.filter((name) => devices.get(name)?.isAmbiguous !== false);
  if (unknown.length > 0) {
    const reasons = problems.length === 0 ? "" : ` (${problems.slice(0, 4).join("; ")})`;
    throw new FailedPreconditionError(
      `no CDI specification in ${directories.join(" or ")} describes ${unknown.join(" and ")}${reasons}; install that of the device's vendor`,
    );
  }
  const seen = new Set<string>();
  return names.flatMap((name) => {
    const { source, edits } = devices.get(name) as Found;
    const { file, spec } = source;
    const isFirst = !seen.has(file);
    seen.add(file);
    const common = isFirst && spec.containerEdits !== undefined ? [{ file, edits: spec.containerEdits }] : [];
    return [...common, { file, edits }];
  });
}

async function specFiles(directory: string, problems: string[]): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT")
      problems.push(`${directory}: ${messageOf(error)}`);
    return [];
  }
  const files = names.filter((name) => extname(name) === ".json" || extname(name) === ".yaml").sort();
  if (files.length > FILES_LIMIT) problems.push(`${directory} has more than ${FILES_LIMIT} files`);
  return files.slice(0, FILES_LIMIT).map((name) => join(directory, name));
}

function readSpec(file: string, problems: string[]): CdiSpec | undefined {
  try {
    return parseCdiSpec(readSmallFile(file, FILE_LIMIT_BYTES), extname(file) === ".json" ? "json" : "yaml");
  } catch (error) {
    problems.push(`${file}: ${messageOf(error)}`);
    return undefined;
  }
}
