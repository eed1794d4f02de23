// SPDX-License-Identifier: Apache-2.0
import { open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { nearMiss } from "../kube/manifest/near-miss.ts";
import type { Io } from "./io.ts";

/** The daemon takes no more; what is longer is no manifest, so it is not even read. */
const MAX_BYTES = 1024 * 1024;
const MAX_FILES = 100;
const URL_TIMEOUT_MS = 30_000;

export interface ManifestText {
  /** What messages call it. */
  readonly name: string;
  readonly text: string;
}

/** Whether the first word after `run` is a manifest's: standard input, an address, a path that is there, or its name's end. */
export async function isManifest(word: string): Promise<boolean> {
  if (word === "-" || /^https?:\/\//.test(word) || /\.(ya?ml|json)$/.test(word)) return true;
  if (/^[./]/.test(word)) return true;
  return await stat(word).then(
    () => true,
    () => false,
  );
}

/**
 * The texts of manifests: of files, of the `.yaml`, `.yml` and `.json` files of a directory in the order
 * of their names, of what an http or https address answers, and of `-`, standard input.
 */
export async function readManifests(sources: readonly string[], io: Io): Promise<ManifestText[]> {
  const texts: ManifestText[] = [];
  for (const source of sources) {
    try {
      for (const name of await filesOf(source)) texts.push({ name, text: await readOne(name, io) });
    } catch (error) {
      const why = await reasonFor(source, error);
      throw new FailedPreconditionError(`cannot read the manifest ${source}: ${why}`, { cause: error });
    }
  }
  if (texts.length <= MAX_FILES) return texts;
  throw new FailedPreconditionError(
    `these are ${texts.length} manifests; no more than ${MAX_FILES} are taken at once`,
  );
}

/** Why a source cannot be read, and what to do. */
async function reasonFor(source: string, error: unknown): Promise<string> {
  const { code, name } = error as { readonly code?: string; readonly name?: string };
  if (isUrl(source) && name === "TimeoutError") return `no answer within ${URL_TIMEOUT_MS / 1000} s`;
  if (isUrl(source) && code !== undefined) return `nothing answers at that address (${code}); check it`;
  if (code === "ENOENT") {
    const beside = await readdir(dirname(source)).catch(() => []);
    const meant = nearMiss(basename(source), beside);
    return `there is no such file${meant === undefined ? "" : `; did you mean ${join(dirname(source), meant)}?`}`;
  }
  if (code === "EACCES") return "you may not read it; run this as root, or change its permissions";
  if (error instanceof TypeError) return "it is no text in UTF-8";
  return messageOf(error);
}

function isUrl(source: string): boolean {
  return /^https?:\/\//.test(source);
}

async function filesOf(source: string): Promise<string[]> {
  if (source === "-" || isUrl(source) || !(await stat(source)).isDirectory()) return [source];
  const entries = await readdir(source, { withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory() && /\.(ya?ml|json)$/.test(entry.name));
  if (files.length === 0) throw new Error("the directory has no .yaml, .yml or .json file");
  return files.map(({ name }) => join(source, name)).sort();
}

async function readOne(name: string, io: Io): Promise<string> {
  if (name === "-") return await readAll(io.stdin, "standard input");
  if (isUrl(name)) return await readUrl(name, io.interrupted);
  await using file = await open(name, "r");
  return await readAll(file.createReadStream(), name);
}

async function readUrl(url: string, interrupted: AbortSignal): Promise<string> {
  const signal = AbortSignal.any([interrupted, AbortSignal.timeout(URL_TIMEOUT_MS)]);
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(`the server answered ${answer.status} ${answer.statusText}`.trim());
  return await readAll(answer.body ?? [], url);
}

async function readAll(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  what: string,
): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new Error(`${what} holds more than ${MAX_BYTES / 1024} KiB`);
    parts.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts));
}
