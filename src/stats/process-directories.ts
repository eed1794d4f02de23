// SPDX-License-Identifier: Apache-2.0
import type { KeptFiles } from "../linux/cgroup/reader.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import { ProcessDirectory } from "../linux/process-directory.ts";

interface Known {
  readonly process: ProcessIdentity;
  readonly directory: ProcessDirectory;
}

/** Directories of processes, each under the id of its container or sandbox, open while `kept` allows it. */
export class ProcessDirectories {
  readonly #kept: KeptFiles;
  readonly #known = new Map<string, Known>();

  constructor(kept: KeptFiles) {
    this.#kept = kept;
  }

  /** What `read` makes of the directory; undefined when the process is gone. */
  read<T>(
    id: string,
    process: ProcessIdentity,
    read: (directory: ProcessDirectory) => T | undefined,
  ): T | undefined {
    const known = this.#known.get(id);
    if (known !== undefined && isSame(known.process, process)) return read(known.directory);
    this.forget(id);
    const directory = ProcessDirectory.open(process);
    if (directory === undefined) return undefined;
    if (this.#kept.left <= 0) {
      try {
        return read(directory);
      } finally {
        directory.close();
      }
    }
    this.#kept.left--;
    this.#known.set(id, { process, directory });
    return read(directory);
  }

  forget(id: string): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    known.directory.close();
    this.#known.delete(id);
    this.#kept.left++;
  }

  close(): void {
    for (const id of this.#known.keys()) this.forget(id);
  }

  /** The ids of which something is kept. */
  keys(): IterableIterator<string> {
    return this.#known.keys();
  }
}

function isSame(a: ProcessIdentity, b: ProcessIdentity): boolean {
  return a.pid === b.pid && a.startTicks === b.startTicks;
}
