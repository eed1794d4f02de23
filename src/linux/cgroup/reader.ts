// SPDX-License-Identifier: Apache-2.0
import { NotFoundError } from "../../errors.ts";
import { O_RDONLY } from "../abi/fcntl.ts";
import { type Fd, openIfThere } from "../fd.ts";
import { readFromStart } from "../proc-file.ts";
import { isErrno } from "../syscall.ts";
import type { CgroupDirectories } from "./resources.ts";

/** How many more files may be kept open by all who share it. Each takes 4.4 KB of the kernel's memory. */
export interface KeptFiles {
  left: number;
}

const NONE: KeptFiles = { left: 0 };

/**
 * Reads the files of one cgroup. Opening and closing one takes several times as long as reading it, so they are kept
 * open while `kept` allows it, for who reads them again and again; `close` gives them back.
 */
export class CgroupReader implements CgroupDirectories {
  readonly version: "v1" | "v2";
  readonly #directories: CgroupDirectories;
  readonly #kept: KeptFiles;
  #open: Map<string, Fd> | undefined;

  constructor(directories: CgroupDirectories, kept: KeptFiles = NONE) {
    this.version = directories.version;
    this.#directories = directories;
    this.#kept = kept;
  }

  /** Undefined for a controller that the machine does not have; `cgroup` is the cgroup2 hierarchy itself. */
  directory(controller: string): string | undefined {
    return this.#directories.directory(controller);
  }

  /** The trimmed text of a controller's file; NotFoundError when it, or the whole cgroup, is gone. */
  read(controller: string, name: string): string {
    const text = this.tryRead(controller, name);
    if (text !== undefined) return text;
    const file = `${this.directory(controller) ?? controller}/${name}`;
    throw new NotFoundError(`cannot read ${file}: there is no such cgroup or file`);
  }

  /**
   * The same, but undefined when it is gone. Not for lists of processes: who keeps one of v1 open gets the same list
   * again and again (cgroup_pidlist_start of kernel/cgroup/cgroup-v1.c).
   */
  tryRead(controller: string, name: string): string | undefined {
    const known = this.#open?.get(name);
    if (known !== undefined) {
      const text = textOf(known);
      if (text !== undefined) return text;
      // Removed; since then it may have been made again.
      this.#drop(name, known);
    }
    const directory = this.directory(controller);
    const file = directory === undefined ? undefined : openFile(`${directory}/${name}`);
    if (file === undefined) return undefined;
    let isKept = false;
    try {
      const text = textOf(file);
      isKept = text !== undefined && this.#kept.left > 0;
      if (isKept) this.#keep(name, file);
      return text;
    } finally {
      if (!isKept) file.close();
    }
  }

  /** Closes what is kept open; reading goes on all the same. */
  close(): void {
    for (const [name, file] of this.#open ?? []) this.#drop(name, file);
  }

  #keep(name: string, file: Fd): void {
    this.#kept.left--;
    this.#open ??= new Map();
    this.#open.set(name, file);
  }

  #drop(name: string, file: Fd): void {
    file.close();
    this.#open?.delete(name);
    this.#kept.left++;
  }
}

/** Undefined when it is not there, or its cgroup is removed between the look-up of its path and its opening. */
function openFile(path: string): Fd | undefined {
  try {
    return openIfThere(path, O_RDONLY);
  } catch (error) {
    return undefinedIfRemoved(error);
  }
}

/** Undefined when the cgroup was removed while the file was open. */
function textOf(file: Fd): string | undefined {
  try {
    return readFromStart(file).trim();
  } catch (error) {
    return undefinedIfRemoved(error);
  }
}

/** ENODEV is what kernfs says of a file whose cgroup is gone. */
function undefinedIfRemoved(error: unknown): undefined {
  if (!isErrno(error, "ENODEV")) throw error;
}

/** The number in the line `name value` of a text of such lines, as memory.stat is; undefined when there is none. */
export function rowOf(text: string, name: string): number | undefined {
  const key = `${name} `;
  const at = text.startsWith(key) ? 0 : text.indexOf(`\n${key}`) + 1;
  if (at === 0 && !text.startsWith(key)) return undefined;
  const end = text.indexOf("\n", at);
  return Number(text.slice(at + key.length, end === -1 ? text.length : end));
}
