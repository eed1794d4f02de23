// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";

/**
 * One 512-byte header of a tar archive: POSIX ustar (IEEE 1003.1, pax), GNU tar and star variants.
 * Names and links are binary strings, one character per byte, since tar knows no encoding.
 */
export interface TarHeader {
  readonly name: string;
  readonly linkName: string;
  /** The type flag as a character; `\0` of old archives is given as `0`. */
  readonly typeFlag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

export const TAR_BLOCK_BYTES = 512;

// Offset and length of the fields, ustar(5) and the tar chapter of POSIX pax.
const NAME = [0, 100] as const;
const MODE = [100, 8] as const;
const UID = [108, 8] as const;
const GID = [116, 8] as const;
const SIZE = [124, 12] as const;
const MTIME = [136, 12] as const;
const CHECKSUM = [148, 8] as const;
const TYPE_OFFSET = 156;
const LINK_NAME = [157, 100] as const;
const MAGIC = [257, 8] as const;
const DEVICE_MAJOR = [329, 8] as const;
const DEVICE_MINOR = [337, 8] as const;
const PREFIX = [345, 155] as const;
const STAR_PREFIX = [345, 131] as const;
const STAR_TRAILER = [508, 4] as const;

type Field = readonly [offset: number, length: number];

const ZERO = 0x30;
const SPACE = 0x20;

/** True for a block of nothing but zeros, two of which end an archive. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < TAR_BLOCK_BYTES; i++) if (block[i] !== 0) return false;
  return true;
}

/** Reads one header block; InvalidArgumentError where it is none. */
export function parseTarHeader(block: Uint8Array): TarHeader {
  verifyChecksum(block);
  const magic = latin1(block, MAGIC);
  const isPosix = magic.startsWith("ustar\0");
  const hasDevices = isPosix || magic === "ustar  \0";
  const typeFlag = String.fromCharCode(block[TYPE_OFFSET] || ZERO);
  return {
    name: prefixOf(block, isPosix) + text(block, NAME),
    linkName: text(block, LINK_NAME),
    typeFlag,
    mode: number(block, MODE, "mode"),
    uid: number(block, UID, "uid"),
    gid: number(block, GID, "gid"),
    sizeBytes: number(block, SIZE, "size"),
    mtimeSeconds: number(block, MTIME, "mtime"),
    deviceMajor: hasDevices ? number(block, DEVICE_MAJOR, "device major") : 0,
    deviceMinor: hasDevices ? number(block, DEVICE_MINOR, "device minor") : 0,
  };
}

/** POSIX archives continue a long name to the left of it; GNU's keep times in the same place. */
function prefixOf(block: Uint8Array, isPosix: boolean): string {
  if (!isPosix) return "";
  const isStar = latin1(block, STAR_TRAILER) === "tar\0";
  const prefix = text(block, isStar ? STAR_PREFIX : PREFIX);
  return prefix === "" ? "" : `${prefix}/`;
}

function verifyChecksum(block: Uint8Array): void {
  const stated = octal(latin1(block, CHECKSUM));
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < TAR_BLOCK_BYTES; i++) {
    const isChecksumByte = i >= CHECKSUM[0] && i < CHECKSUM[0] + CHECKSUM[1];
    const byte = isChecksumByte ? SPACE : (block[i] as number);
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  // Some old programs summed signed characters.
  if (stated !== unsigned && stated !== signed) {
    throw new InvalidArgumentError("", "it is no tar archive: a header's checksum does not match");
  }
}

/** A number field: octal digits between spaces or NULs, or GNU's base-256 where the top bit is set. */
function number(block: Uint8Array, [offset, length]: Field, what: string): number {
  const first = block[offset] as number;
  const value = first & 0x80 ? base256(block, offset, length) : octal(latin1(block, [offset, length]));
  if (!Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("", `a tar header has no usable number in its field ${what}`);
  }
  return value;
}

function octal(field: string): number {
  const digits = /^[ \0]*([0-7]*)(?:[ \0].*)?$/s.exec(field)?.[1];
  if (digits === undefined) return Number.NaN;
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** Big-endian two's complement over the bits after the first. */
function base256(block: Uint8Array, offset: number, length: number): number {
  const isNegative = ((block[offset] as number) & 0x40) !== 0;
  let value = BigInt((block[offset] as number) & 0x7f);
  for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(block[offset + i] as number);
  return Number(isNegative ? value - (1n << BigInt(8 * length - 1)) : value);
}

function text(block: Uint8Array, field: Field): string {
  const whole = latin1(block, field);
  const end = whole.indexOf("\0");
  return end < 0 ? whole : whole.slice(0, end);
}

function latin1(block: Uint8Array, [offset, length]: Field): string {
  return Buffer.from(block.buffer, block.byteOffset + offset, length).toString("latin1");
}
