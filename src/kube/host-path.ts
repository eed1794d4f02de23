// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { mkdir, open as openFile } from "node:fs/promises";
import { posix } from "node:path";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { O_CLOEXEC, O_CREAT, O_DIRECTORY, O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG, S_IFSOCK } from "../linux/abi/stat.ts";
import { type Fd, open } from "../linux/fd.ts";
import { mkdirAllInRoot, openBeneath, statFd } from "../linux/path.ts";
import { isErrno } from "../linux/syscall.ts";
import type { VolumeSpec } from "./manifest/volume-fields.ts";
import { allowedTree, isCovered } from "./permissions.ts";
import type { Pod } from "./pod.ts";

const TYPES = {
  DirectoryOrCreate: S_IFDIR,
  Directory: S_IFDIR,
  FileOrCreate: S_IFREG,
  File: S_IFREG,
  Socket: S_IFSOCK,
  CharDevice: S_IFCHR,
  BlockDevice: S_IFBLK,
} as const;

/**
 * Makes what a hostPath volume asks to be made, and checks that it is what it is said to be. Where only a
 * tree around it was allowed, links in that tree lead nowhere else.
 */
export async function prepareHostPath(
  pod: Pod,
  { path, type = "" }: NonNullable<VolumeSpec["hostPath"]>,
): Promise<void> {
  const permissions = pod.permissions ?? ["all"];
  const tree = allowedTree(path, permissions);
  try {
    if (type === "") {
      // The runtime makes what is missing, which is no reading.
      if (isCovered(`host-path=${path}`, permissions) || existsSync(path)) return;
      throw new Error("does not exist, and only reading it was allowed");
    }
    if (type.endsWith("OrCreate")) await make(path, type === "FileOrCreate", tree);
    using found = openAllowed(path, tree);
    if ((statFd(found.number).mode & S_IFMT) !== TYPES[type]) throw new Error(`is not of type ${type}`);
  } catch (error) {
    const made = type === "Directory" || type === "File" ? `, or set type ${type}OrCreate` : "";
    const why = isErrno(error, "ENOENT") ? `there is nothing at that path; make it${made}` : messageOf(error);
    throw new FailedPreconditionError(`hostPath ${path}: ${why}`, { cause: error });
  }
}

function openAllowed(path: string, tree: string | undefined): Fd {
  if (tree === undefined) return open(path, O_PATH | O_CLOEXEC);
  using root = open(tree, O_PATH | O_DIRECTORY);
  return openBeneath(root.number, posix.relative(tree, path), O_PATH);
}

async function make(path: string, isFile: boolean, tree: string | undefined): Promise<void> {
  if (tree === undefined) {
    if (isFile) await (await openFile(path, "a", 0o644)).close();
    else await mkdir(path, { recursive: true, mode: 0o755 });
    return;
  }
  using root = open(tree, O_PATH | O_DIRECTORY);
  const below = posix.relative(tree, path);
  if (isFile) openBeneath(root.number, below, O_CREAT | O_RDONLY, 0o644).close();
  else mkdirAllInRoot(root.number, below, 0o755).close();
}
