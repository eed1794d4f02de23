// SPDX-License-Identifier: Apache-2.0
import { type FileHandle, open, stat } from "node:fs/promises";

/** One line of a container's log, or a part of one that is too long or not yet ended. */
export interface LogLine {
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** False when more of the same line follows. */
  readonly isWhole: boolean;
  readonly text: Uint8Array;
}

/** Reads the log of one container as it grows, across the renaming of the file. */
export interface LogReader extends AsyncDisposable {
  /** The lines written since the last call; none when there is nothing new. At most a megabyte at once. */
  read(): Promise<LogLine[]>;
  /** How many reads deliver all that is there now; more may be written meanwhile. */
  readsPending(): Promise<number>;
}

const CHUNK_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;

/** A log that does not exist yet is read once it does. */
export function openLog(path: string): LogReader {
  let file: FileHandle | undefined;
  let inode: number | undefined;
  let offset = 0;
  let rest: Uint8Array = new Uint8Array(0);

  const readChunk = async (): Promise<Uint8Array> => {
    if (file === undefined) return new Uint8Array(0);
    const buffer = new Uint8Array(CHUNK_BYTES);
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, offset);
    offset += bytesRead;
    return buffer.subarray(0, bytesRead);
  };
  /** Opens what is at `path` now, if that is another file than before. */
  const followPath = async (): Promise<boolean> => {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || found.ino === inode) return false;
    await file?.close();
    file = await open(path, "r").catch(() => undefined);
    inode = file === undefined ? undefined : found.ino;
    offset = 0;
    return file !== undefined;
  };
  return {
    async read() {
      let chunk = await readChunk();
      if (chunk.length === 0 && (await followPath())) chunk = await readChunk();
      if (chunk.length === 0) return [];
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      rest = bytes.slice(end);
      return linesOf(bytes.subarray(0, end));
    },
    async readsPending() {
      const size = (await file?.stat())?.size ?? 0;
      // One more, and another file's worth, for a log that was set aside or is not open yet.
      const next = (await stat(path).catch(() => undefined))?.size ?? 0;
      return Math.ceil((Math.max(0, size - offset) + next) / CHUNK_BYTES) + 1;
    },
    async [Symbol.asyncDispose]() {
      await file?.close();
    },
  };
}

/** The lines of text in the CRI's log format; what does not have it is passed over. */
export function linesOf(bytes: Uint8Array): LogLine[] {
  const lines: LogLine[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const line = parseLine(bytes.subarray(start, end));
    if (line !== undefined) lines.push(line);
    start = end + 1;
  }
  return lines;
}

/** `<RFC3339Nano> <stdout|stderr> <F|P>[:<tag>…] <text>` */
function parseLine(bytes: Uint8Array): LogLine | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 80)).toString("latin1");
  const match = /^(\S+) (stdout|stderr) ([FP])(?::\S*)? ?/.exec(head);
  if (match === null) return undefined;
  return {
    time: match[1]!,
    stream: match[2] as LogLine["stream"],
    isWhole: match[3] === "F",
    text: bytes.subarray(match[0].length),
  };
}
