// SPDX-License-Identifier: Apache-2.0
import { SIG_SETMASK, SIGNAL, type SignalName } from "../linux/abi/signal.ts";
import type { Table } from "./program.ts";

/** The kernel's sigset_t: a bit for each of 64 signals. */
export const SIGNAL_SET_BYTES = 8;

/** Appends that no signal is blocked: what execve hands on is what the daemon's thread, or the monitor, has. */
export function unblockSignals(table: Table): void {
  const none = new Uint8Array(SIGNAL_SET_BYTES);
  table.step("unblock signals", "rt_sigprocmask", [SIG_SETMASK, none, 0, SIGNAL_SET_BYTES]);
}

/** Appends that a signal is left to the kernel (SIG_DFL) or ignored (SIG_IGN). */
export function setSignalAction(table: Table, name: SignalName, handler: bigint): void {
  // struct sigaction of the kernel: handler, flags, restorer, mask.
  const action = new Uint8Array(new BigUint64Array([handler, 0n, 0n, 0n]).buffer);
  table.step(`set the action of ${name}`, "rt_sigaction", [SIGNAL[name], action, 0, SIGNAL_SET_BYTES]);
}
