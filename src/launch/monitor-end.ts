// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../errors.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { type ProcessIdentity, signal, waitGone } from "../linux/process.ts";
import { trySyscall } from "../linux/syscall.ts";

const END_TIMEOUT_MS = 5000;
const WNOHANG = 1;
const REAP_ATTEMPTS = 100;

/** Ends a monitor, if it is there; its children stay. `hint` resolves when it may have ended. */
export async function killMonitor(identity: ProcessIdentity, hint?: Promise<void>): Promise<void> {
  signal(identity, SIGNAL.SIGKILL);
  if (!(await waitGone(identity, END_TIMEOUT_MS, hint)))
    throw new InternalError(`monitor ${identity.pid} did not end within ${END_TIMEOUT_MS} ms of SIGKILL`);
}

/** Takes the exit status of a monitor that is this daemon's child; init does so for an earlier daemon's. */
export async function reap(pid: number): Promise<void> {
  // Its descriptors, whose end of file brought us here, are closed a moment before it can be waited for.
  for (let attempt = 0; attempt < REAP_ATTEMPTS; attempt++) {
    if (trySyscall("wait4", pid, 0, WNOHANG, 0) !== 0) return;
    await Bun.sleep(5);
  }
}
