// SPDX-License-Identifier: Apache-2.0
import { KEYCTL_JOIN_SESSION_KEYRING } from "../linux/abi/keyctl.ts";
import type { Table } from "./program.ts";

/**
 * Appends a session of the process's own: for terminals and signals, and for keys. Without the second it would have
 * the daemon's session keyring, or that of all of root's processes (session-keyring(7)). Made as the host's root,
 * it counts against no quota of a user namespace's.
 */
export function newSession(table: Table): void {
  table.step("become a session leader", "setsid", []);
  table.step("make a session keyring", "keyctl", [KEYCTL_JOIN_SESSION_KEYRING, 0], { tolerate: ["ENOSYS"] });
}
