// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf } from "../errors.ts";
import { SIGNAL_SET_BYTES } from "../launch/signals.ts";
import { AT_EMPTY_PATH } from "../linux/abi/fcntl.ts";
import { SIG_SETMASK } from "../linux/abi/signal.ts";
import { type Fd, memfd } from "../linux/fd.ts";
import { PAUSE_ELF } from "../linux/machine-code.ts";
import { stringVector } from "../linux/string-vector.ts";
import { isErrno, syscall } from "../linux/syscall.ts";

const MFD_ALLOW_SEALING = 0x2;
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, _SHRINK, _GROW and _WRITE. */
const ALL_SEALS = 0xf;
const CLOSE_RANGE_CLOEXEC = 4;
const FIRST_NOT_STANDARD_FD = 3;
const LAST_FD = 0xffffffff;

/**
 * Becomes the pause of pause/pause.x86_64.S: replaces this process, keeping its pid and standard
 * streams, by a kilobyte of machine code called `/pause` with `args`. Returns only by throwing.
 */
export function execPause(args: string[]): never {
  const program = pauseProgram();
  const argv = stringVector(["/pause", ...args]);
  const environment = stringVector(Object.entries(process.env).map(([name, value]) => `${name}=${value}`));
  // The mask and the descriptors are what exec hands on; pause itself undoes an ignored SIGCHLD.
  syscall("rt_sigprocmask", SIG_SETMASK, new Uint8Array(SIGNAL_SET_BYTES), null, SIGNAL_SET_BYTES);
  syscall("close_range", FIRST_NOT_STANDARD_FD, LAST_FD, CLOSE_RANGE_CLOEXEC);
  try {
    syscall("execveat", program.number, "", argv, environment, AT_EMPTY_PATH);
  } catch (error) {
    throw new InternalError(`cannot start pause from memory: ${messageOf(error)}`, { cause: error });
  }
  throw new InternalError("cannot start pause from memory: execveat returned");
}

/** A sealed file in memory that holds the program. */
function pauseProgram(): Fd {
  const file = executableMemfd();
  syscall("fcntl", file.number, F_ADD_SEALS, ALL_SEALS);
  return file;
}

function executableMemfd(): Fd {
  try {
    return memfd("pause", PAUSE_ELF, MFD_ALLOW_SEALING | MFD_EXEC);
  } catch (error) {
    // Linux before 6.3 does not know MFD_EXEC and makes every such file executable.
    if (!isErrno(error, "EINVAL")) throw error;
    return memfd("pause", PAUSE_ELF, MFD_ALLOW_SEALING);
  }
}
