// SPDX-License-Identifier: Apache-2.0

/** How often a command asks how the pods do that it follows: a person takes it for at once, the daemon hardly notices. */
export const LOOK_MS = 200;
/** How often it asks whether a container of its own has ended, for whose exit code a prompt or a script waits. */
export const END_LOOK_MS = 100;
