// SPDX-License-Identifier: Apache-2.0
import { O_DIRECTORY, O_RDONLY } from "./abi/fcntl.ts";
import { type Fd, openIfThere, orClosed } from "./fd.ts";
import { readKernelFile } from "./proc-file.ts";
import { isAlive, type ProcessIdentity } from "./process.ts";
import { isErrno } from "./syscall.ts";

/** /proc/PID, open: what is read in it is of that very process, whoever has the number by now. */
export class ProcessDirectory {
  readonly #directory: Fd;

  private constructor(directory: Fd) {
    this.#directory = directory;
  }

  /** Undefined when the process is gone or a zombie. */
  static open(process: ProcessIdentity): ProcessDirectory | undefined {
    const directory = openIfThere(`/proc/${process.pid}`, O_RDONLY | O_DIRECTORY);
    if (directory === undefined) return undefined;
    // Looked at afterwards: then the number was the process's when its directory was opened.
    if (orClosed(directory, () => isAlive(process))) return new ProcessDirectory(directory);
    directory.close();
    return undefined;
  }

  /** The text of one of its files, or somewhat more than its first `mostCharacters`; undefined when the process has ended. */
  read(name: string, mostCharacters?: number): string | undefined {
    try {
      return readKernelFile(name, this.#directory.number, mostCharacters);
    } catch (error) {
      // EINVAL: of a zombie, which is in no namespace any more.
      if (isErrno(error, "ENOENT", "ESRCH", "EINVAL")) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#directory.close();
  }
}
