// SPDX-License-Identifier: Apache-2.0
import { readdirSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { readConfigurationFile } from "./configuration-file.ts";
import { type HostEntry, type HostsFile, parseHostsFile } from "./hosts-file.ts";

/** The directory of the registries that have none of their own. */
const DEFAULT_DIRECTORY = "_default";
const HOSTS_FILE = "hosts.toml";

/** What a directory below `certs.d` says of a registry. */
export interface HostDirectory extends HostsFile {
  /** The directory; relative paths have been completed with it. */
  readonly directory: string;
}

/**
 * Reads what is configured for the images of `host`: its `hosts.toml`, or, where there is none, certificates as
 * docker wants them (`*.crt` of authorities, `*.cert` with `*.key` of the client). Undefined when neither the
 * host nor `_default` has a directory. Nothing is remembered, so that changes count at once.
 */
export function readHostDirectory(certsDir: string, host: string): HostDirectory | undefined {
  const candidates = [...directoryNames(host), DEFAULT_DIRECTORY];
  for (const name of candidates) {
    const found = readDirectory(join(certsDir, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** One of the directories; undefined where it is none. FailedPreconditionError or InvalidArgumentError naming the file. */
export function readDirectory(directory: string): HostDirectory | undefined {
  const files = listed(directory);
  return files === undefined ? undefined : { directory, ...completed(read(directory, files), directory) };
}

/** The directories below `certsDir`, one a registry. */
export function hostDirectories(certsDir: string): string[] {
  return (listed(certsDir) ?? []).map((name) => join(certsDir, name));
}

/** A port stands between underscores, as containerd has it, or after its colon. */
function directoryNames(host: string): string[] {
  const [, name, port] = /^(.+):(\d+)$/.exec(host) ?? [];
  return port === undefined ? [host] : [`${name}_${port}_`, host];
}

/** Names in a directory, sorted; undefined where there is no directory. */
function listed(directory: string): string[] | undefined {
  try {
    // Asked for in every Status: an error takes several times as long as this look.
    if (statSync(directory, { throwIfNoEntry: false }) === undefined) return undefined;
    return readdirSync(directory).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new FailedPreconditionError(`cannot read ${directory}: ${messageOf(error)}`, { cause: error });
  }
}

function read(directory: string, files: readonly string[]): HostsFile {
  const file = join(directory, HOSTS_FILE);
  const text = readConfigurationFile(file) ?? "";
  const parsed = parseHostsFile(text, file);
  return text.trim() === ""
    ? { hosts: [], server: { ...parsed.server, ...dockerFiles(directory, files) } }
    : parsed;
}

function dockerFiles(directory: string, files: readonly string[]): Pick<HostEntry, "ca" | "client"> {
  const ending = (end: string) => files.filter((name) => name.endsWith(end));
  const client = ending(".cert").map((name) => [name, `${name.slice(0, -".cert".length)}.key`] as const);
  const lonely = ending(".key").find((name) => !client.some(([, key]) => key === name));
  if (lonely !== undefined) {
    throw new FailedPreconditionError(
      `${join(directory, lonely)} is the key of no certificate: its .cert is not there`,
    );
  }
  return { ca: ending(".crt"), client };
}

/** Completes the paths of all entries. */
function completed({ hosts, server }: HostsFile, directory: string): HostsFile {
  const absolute = (path: string) => (isAbsolute(path) ? path : join(directory, path));
  const complete = (entry: HostEntry): HostEntry => ({
    ...entry,
    ca: entry.ca.map(absolute),
    client: entry.client.map(([file, key]) => [absolute(file), key === undefined ? key : absolute(key)]),
  });
  return { hosts: hosts.map(complete), server: complete(server) };
}
