// SPDX-License-Identifier: Apache-2.0
import { InternalError, InvalidArgumentError, ResourceExhaustedError } from "../errors.ts";
import { SyscallError } from "../linux/syscall.ts";
import { quoteName } from "./tar-entry.ts";

/** A name in an open directory of the tree being unpacked; the one form in which entries are touched. */
export interface Place {
  /** Cleaned path from the layer's root, a binary string. */
  readonly path: string;
  /** O_PATH descriptor, owned by the `LayerTree`. */
  readonly directoryFd: number;
  /** Last component, NUL-terminated. */
  readonly name: Uint8Array;
}

/**
 * A name of the archive relative to the layer's root, without `.`, `..` and doubled slashes; empty for
 * the root itself. Absolute names count from the root. InvalidArgumentError for one that climbs out of `root`.
 */
export function cleanPath(path: string, root = "the layer's root"): string {
  // Nearly every name is clean but for a leading `./` or a trailing slash.
  const trimmed = path.startsWith("./") ? path.slice(2) : path;
  const candidate = trimmed.endsWith("/") ? trimmed.slice(0, -1) : trimmed;
  if (!/^\.?\.?\/|\/\.?\.?\/|\/\.?\.?$|^\.?\.?$/.test(candidate)) return candidate;
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.pop() === undefined) {
      throw new InvalidArgumentError("", `entry ${quoteName(path)} leaves ${root}`);
    }
  }
  return kept.join("/");
}

export function parentPath(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** A binary string as the kernel takes it. */
export function cBytes(binary: string): Uint8Array {
  return Buffer.from(`${binary}\0`, "latin1");
}

/** What a failed system call means for the entry it was made for; "" where it was for none of them. */
export function entryError(path: string, error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  const sentence = path === "" ? error.message : `entry ${quoteName(path)}: ${error.message}`;
  if (error.code === "ENOSPC" || error.code === "EDQUOT") {
    return new ResourceExhaustedError(`${sentence}: no space left; free some or remove images`, {
      cause: error,
    });
  }
  const isOwnFault = ["ENOTDIR", "ELOOP", "ENAMETOOLONG", "ENOENT", "EISDIR", "EINVAL", "E2BIG"].includes(
    error.code,
  );
  return isOwnFault
    ? new InvalidArgumentError("", sentence, { cause: error })
    : new InternalError(sentence, { cause: error });
}
