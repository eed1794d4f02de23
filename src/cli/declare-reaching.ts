// SPDX-License-Identifier: Apache-2.0
import type { Declare } from "./program.ts";

/** The commands that lead into a pod from outside: its ports, its files. */
export function declareReaching(command: Declare): void {
  command(
    "port-forward <pod> <ports...>",
    "lead ports of this machine's loopback to ports of a pod, until Ctrl-C",
    async () => (await import("./port-forward/port-forward.ts")).portForward,
  ).usage("[options] <pod> <[local:]remote...>");
}
