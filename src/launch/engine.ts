// SPDX-License-Identifier: Apache-2.0

import { CLONE_VFORK, CLONE_VM } from "../linux/abi/sched.ts";
import { SIG_SETMASK, SIGNAL } from "../linux/abi/signal.ts";
import { clone, loadMachineCode, mapMemory, memoryAt } from "../linux/libc.ts";
import { ENGINE_CHILD_OFFSET, ENGINE_CODE } from "../linux/machine-code.ts";
import { type ProcessIdentity, waitGone } from "../linux/process.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import { LaunchError } from "./launch-error.ts";
import type { Program } from "./program.ts";
import { SIGNAL_SET_BYTES } from "./signals.ts";

/*
 * The engine inside the daemon. It starts monitors, and processes that only look at new namespaces: the
 * daemon is big, so it never forks. The child shares its memory (CLONE_VM) and runs machine code and a
 * table that are ready beforehand, on a stack of its own, while the calling thread waits for its execve
 * or its end (CLONE_VFORK). No JavaScript runs in the child.
 */

const WAIT_ALL = 0x4000_0000;

const SCRATCH_BYTES = 64 * 1024;
const STACK_BYTES = 16 * 1024;
const LOOK_MS = 60_000;

let childEntry = 0;
let scratch = 0;

/**
 * Runs the main table of `program` in a new process, made with `flags` of clone(2); returns its pid once
 * the process has executed something or has reached the end of the table, which ends it with code 127.
 */
export function spawnWithEngine(program: Program, flags: number = SIGNAL.SIGCHLD): number {
  if (childEntry === 0) {
    childEntry = loadMachineCode(ENGINE_CODE) + ENGINE_CHILD_OFFSET;
    scratch = mapMemory(SCRATCH_BYTES);
  }
  const image = program.build(scratch);
  if (image.bytes.length > SCRATCH_BYTES - STACK_BYTES)
    throw new Error("program too large for the daemon's engine");
  const memory = memoryAt(scratch, SCRATCH_BYTES);
  memory.set(image.bytes);
  const pid = withSignalsBlocked(() =>
    clone(childEntry, scratch + SCRATCH_BYTES, CLONE_VM | CLONE_VFORK | flags, image.tableAddress),
  );
  if (pid < 0) throw new SyscallError("clone", -pid);
  const outcome = new DataView(memory.buffer, memory.byteOffset + image.tableAddress - scratch - 16, 16);
  const errno = -Number(outcome.getBigInt64(0, true));
  if (errno !== 0) {
    waitForEnd(pid);
    throw new LaunchError(image.stepName(0, Number(outcome.getBigInt64(8, true))), errno, 0);
  }
  return pid;
}

/** Takes leave of a process that `spawnWithEngine` has seen end: it is gone afterwards. Answers its status (wait(2)). */
export function waitForEnd(pid: number): number {
  const status = new Int32Array(1);
  syscall("wait4", pid, new Uint8Array(status.buffer), WAIT_ALL, 0);
  return status[0] ?? 0;
}

/** The status of a child that is to end, once it has, however long that takes a process that was killed. */
export async function endOf(process: ProcessIdentity): Promise<number> {
  while (!(await waitGone(process, LOOK_MS)));
  return waitForEnd(process.pid);
}

/** The child must not run a signal handler of the JavaScript engine on the memory it shares. */
function withSignalsBlocked<T>(work: () => T): T {
  const all = new Uint8Array(SIGNAL_SET_BYTES).fill(0xff);
  const former = new Uint8Array(SIGNAL_SET_BYTES);
  syscall("rt_sigprocmask", SIG_SETMASK, all, former, SIGNAL_SET_BYTES);
  try {
    return work();
  } finally {
    syscall("rt_sigprocmask", SIG_SETMASK, former, null, SIGNAL_SET_BYTES);
  }
}
