// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, ResourceExhaustedError, UnimplementedError } from "../errors.ts";
import { quoted } from "../lib/foreign-text.ts";
import type { TarHeader } from "./tar-header.ts";
import { parsePaxInteger, parsePaxTime } from "./tar-pax.ts";

export type TarEntryType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";

/**
 * One member of an archive, pax and GNU extensions folded in. Names are binary strings (one character
 * per byte), exactly as the archive has them: nothing is cleaned, nothing is trusted.
 */
export interface TarEntry {
  readonly path: string;
  readonly type: TarEntryType;
  readonly linkPath: string;
  /** Permission bits, at most 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow; 0 for everything but files. */
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended attributes (SCHILY.xattr.*), name to value, both binary strings. */
  readonly xattrs: ReadonlyMap<string, string>;
}

export interface TarLimits {
  readonly maxEntries: number;
  readonly maxNameBytes: number;
  readonly maxExtendedHeaderBytes: number;
}

export const TAR_LIMITS: TarLimits = {
  maxEntries: 1_000_000,
  maxNameBytes: 4096,
  maxExtendedHeaderBytes: 1 << 20,
};

const XATTR_PREFIX = "SCHILY.xattr.";
const NO_XATTRS: ReadonlyMap<string, string> = new Map();
const MAX_ID = 0xffff_fffe;
const MODE_MASK = 0o7777;

const TYPES: Readonly<Record<string, TarEntryType>> = {
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  "7": "file",
};

/** What extension headers said about the member that comes next. */
export interface TarExtensions {
  pax?: Map<string, string>;
  gnuName?: string;
  gnuLinkName?: string;
}

/** Folds header and extensions; pax wins over GNU's long names, which win over the header. */
export function buildTarEntry(
  header: TarHeader,
  { pax, gnuName, gnuLinkName }: TarExtensions,
  limits: TarLimits,
): { entry: TarEntry; contentBytes: number } {
  const path = pax?.get("path") || gnuName || header.name;
  const linkPath = pax?.get("linkpath") || gnuLinkName || header.linkName;
  checkName(path, path, limits);
  checkName(linkPath, path, limits);
  const listedType = typeOf(header.typeFlag, path, pax);
  const size = pax?.get("size");
  // Like Go's archive/tar, with which images are made: content can only follow a file.
  const contentBytes =
    listedType !== "file"
      ? 0
      : size
        ? parsePaxInteger("size", size)
        : inRange(header.sizeBytes, "size", path);
  // Archives older than ustar mark a directory by the slash at the end of its name.
  const type = listedType === "file" && path.endsWith("/") ? "directory" : listedType;
  const paxTime = pax?.get("mtime");
  const time = paxTime ? parsePaxTime(paxTime) : { seconds: header.mtimeSeconds, nanoseconds: 0 };
  const entry: TarEntry = {
    path,
    type,
    linkPath,
    mode: header.mode & MODE_MASK,
    uid: ownerOf("uid", pax, header.uid, path),
    gid: ownerOf("gid", pax, header.gid, path),
    sizeBytes: type === "file" ? contentBytes : 0,
    mtimeSeconds: time.seconds,
    mtimeNanoseconds: time.nanoseconds,
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
    xattrs: xattrsOf(pax),
  };
  return { entry, contentBytes };
}

function typeOf(typeFlag: string, path: string, pax: Map<string, string> | undefined): TarEntryType {
  const isSparse = typeFlag === "S" || [...(pax?.keys() ?? [])].some((key) => key.startsWith("GNU.sparse."));
  if (isSparse) {
    throw new UnimplementedError(
      `entry ${quoteName(path)} is a GNU sparse file, which podrt does not unpack: build the layer without tar --sparse`,
    );
  }
  const type = TYPES[typeFlag];
  if (type === undefined) {
    throw new UnimplementedError(
      `entry ${quoteName(path)} has the tar type ${quoteName(typeFlag)}, which podrt does not unpack`,
    );
  }
  return type;
}

function ownerOf(
  key: "uid" | "gid",
  pax: Map<string, string> | undefined,
  fallback: number,
  path: string,
): number {
  const value = pax?.get(key);
  const id = value ? parsePaxInteger(key, value) : inRange(fallback, key, path);
  if (id > MAX_ID) throw new InvalidArgumentError("", `entry ${quoteName(path)} has the ${key} ${id}`);
  return id;
}

function xattrsOf(pax: Map<string, string> | undefined): ReadonlyMap<string, string> {
  if (pax === undefined) return NO_XATTRS;
  const xattrs = new Map<string, string>();
  for (const [key, value] of pax) {
    if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), value);
  }
  return xattrs;
}

function inRange(value: number, what: string, path: string): number {
  if (value < 0) throw new InvalidArgumentError("", `entry ${quoteName(path)} has a negative ${what}`);
  return value;
}

function checkName(name: string, path: string, limits: TarLimits): void {
  if (name.length > limits.maxNameBytes) {
    throw new ResourceExhaustedError(
      `entry ${quoteName(path)} has a name of ${name.length} bytes, more than ${limits.maxNameBytes}`,
    );
  }
  if (name.includes("\0")) {
    throw new InvalidArgumentError("", `entry ${quoteName(path)} has a name with a NUL byte in it`);
  }
}

/** A binary name for a person: decoded, quoted, control characters escaped, cut where it is very long. */
export function quoteName(name: string): string {
  const text = Buffer.from(name, "latin1").toString("utf8");
  return quoted(text, 200);
}
