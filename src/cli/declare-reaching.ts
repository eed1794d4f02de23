// SPDX-License-Identifier: Apache-2.0
import type { Declare } from "./program.ts";

/** The commands that lead into a pod from outside: its ports, its files. */
export function declareReaching(command: Declare): void {
  command(
    "port-forward <pod> <ports...>",
    "lead ports of this machine's loopback to ports of a pod, until Ctrl-C",
    async () => (await import("./port-forward/port-forward.ts")).portForward,
  )
    .usage("[options] <pod> <[local:]remote...>")
    .addHelpText(
      "after",
      `
Examples:
  podrt port-forward web 8080:80     127.0.0.1:8080 and [::1]:8080 lead to port 80 of the pod
  podrt port-forward web 80 :5432    port 80 is the same here, for port 5432 any free one is taken`,
    );
}
