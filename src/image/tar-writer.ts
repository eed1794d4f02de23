// SPDX-License-Identifier: Apache-2.0
import type { TarEntry, TarEntryType } from "./tar-entry.ts";
import { TAR_BLOCK_BYTES } from "./tar-header.ts";

/** Ends an archive. */
export const TAR_END = new Uint8Array(2 * TAR_BLOCK_BYTES);

const TYPE_FLAGS: Readonly<Record<TarEntryType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};
const NAME_BYTES = 100;
// What seven and eleven octal digits hold; larger numbers stand in a pax record.
const MAX_ID = 0o7777777;
const MAX_SIZE = 0o77777777777;

/**
 * The header blocks of one member: POSIX ustar (IEEE 1003.1, pax), with a pax header before it for what
 * ustar has no room for. The content follows, then zeros up to the next multiple of 512 bytes.
 */
export function tarHeader(entry: TarEntry): Uint8Array {
  const records = paxRecords(entry);
  if (records.length === 0) return block(entry, TYPE_FLAGS[entry.type]);
  const pax = { ...entry, path: "PaxHeaders/entry", linkPath: "", mode: 0o600, sizeBytes: records.length };
  return Buffer.concat([
    block(pax, "x"),
    records,
    new Uint8Array(tarPadding(records.length)),
    block(entry, TYPE_FLAGS[entry.type]),
  ]);
}

/** How many zeros follow a content of so many bytes. */
export function tarPadding(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

function paxRecords(entry: TarEntry): Buffer {
  const records: string[] = [];
  const add = (key: string, value: string) => records.push(paxRecord(key, value));
  if (entry.path.length > NAME_BYTES || /[^ -~]/.test(entry.path)) add("path", entry.path);
  if (entry.linkPath.length > NAME_BYTES || /[^ -~]/.test(entry.linkPath)) add("linkpath", entry.linkPath);
  if (entry.uid > MAX_ID) add("uid", String(entry.uid));
  if (entry.gid > MAX_ID) add("gid", String(entry.gid));
  if (entry.sizeBytes > MAX_SIZE) add("size", String(entry.sizeBytes));
  if (entry.mtimeNanoseconds !== 0 || entry.mtimeSeconds < 0) add("mtime", paxTime(entry));
  for (const [name, value] of entry.xattrs) add(`SCHILY.xattr.${name}`, value);
  return Buffer.from(records.join(""), "latin1");
}

/** The length that begins a record counts its own digits too. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

/** Nanoseconds count forward: -2 seconds and half a second more is -1.5. */
function paxTime({ mtimeSeconds, mtimeNanoseconds }: TarEntry): string {
  const fraction = (nanoseconds: number) => String(nanoseconds).padStart(9, "0");
  if (mtimeSeconds >= 0) return `${mtimeSeconds}.${fraction(mtimeNanoseconds)}`;
  if (mtimeNanoseconds === 0) return `${mtimeSeconds}`;
  return `-${-mtimeSeconds - 1}.${fraction(1_000_000_000 - mtimeNanoseconds)}`;
}

function block(entry: TarEntry, typeFlag: string): Uint8Array {
  const bytes = Buffer.alloc(TAR_BLOCK_BYTES);
  const text = (value: string, offset: number) => bytes.write(value.slice(0, NAME_BYTES), offset, "latin1");
  const octal = (value: number, offset: number, digits: number) =>
    bytes.write(value.toString(8).padStart(digits, "0"), offset, "latin1");
  text(entry.path, 0);
  octal(entry.mode, 100, 7);
  octal(entry.uid > MAX_ID ? 0 : entry.uid, 108, 7);
  octal(entry.gid > MAX_ID ? 0 : entry.gid, 116, 7);
  octal(entry.sizeBytes > MAX_SIZE ? 0 : entry.sizeBytes, 124, 11);
  octal(Math.min(Math.max(0, entry.mtimeSeconds), MAX_SIZE), 136, 11);
  bytes.write(typeFlag, 156, "latin1");
  text(entry.linkPath, 157);
  bytes.write("ustar\x0000", 257, "latin1");
  octal(entry.deviceMajor, 329, 7);
  octal(entry.deviceMinor, 337, 7);
  bytes.fill(" ", 148, 156);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
}
