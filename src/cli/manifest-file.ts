// SPDX-License-Identifier: Apache-2.0
import { open } from "node:fs/promises";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import type { Io } from "./io.ts";

/** The daemon takes no more; what is longer is no manifest, so it is not even read. */
const MAX_BYTES = 1024 * 1024;

/** The text of a manifest; `-` is standard input. */
export async function readManifest(file: string, io: Io): Promise<string> {
  try {
    return await (file === "-" ? readAll(io.stdin, "standard input") : readFile(file));
  } catch (error) {
    throw new FailedPreconditionError(`cannot read the manifest ${file}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function readFile(path: string): Promise<string> {
  await using file = await open(path, "r");
  return await readAll(file.createReadStream(), path);
}

async function readAll(chunks: AsyncIterable<Uint8Array>, what: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new Error(`${what} holds more than ${MAX_BYTES / 1024} KiB`);
    parts.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts));
}
