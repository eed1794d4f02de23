// SPDX-License-Identifier: Apache-2.0
import type { Declare } from "./program.ts";

/** The commands that lead into a pod from outside: its ports, its files. */
export function declareReaching(command: Declare): void {
  command(
    "port-forward <pod> <ports...>",
    "lead ports of this machine's loopback to ports of a pod, until Ctrl-C",
    async () => (await import("./port-forward/port-forward.ts")).portForward,
  ).usage("[options] <pod> <[local:]remote...>");
  command(
    "cp <from> <to>",
    "copy files out of a container or into one, which needs no tar for it",
    async () => (await import("./cp/cp.ts")).cp,
  )
    .usage("[options] <container:path> <path | ->\n       podrt cp [options] <path | -> <container:path>")
    .option("-L, --follow-link", "copy what a link at the end of the path names, not the link")
    .addHelpText(
      "after",
      "\nA directory goes with all that is in it, into the target where that is there, else as the target; DIR/. is its content. Owners (where root copies), modes, times, links and attributes are kept.",
    );
}
