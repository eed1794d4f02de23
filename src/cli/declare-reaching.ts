// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import type { Declare } from "./program.ts";

/** The commands that lead into a pod from outside: its ports, its files, its processes. */
export function declareReaching(command: Declare): void {
  command(
    "port-forward <pod> <ports...>",
    "lead ports of this machine's loopback to ports of a pod, or of one of a Service's, until Ctrl-C",
    async () => (await import("./port-forward/port-forward.ts")).portForward,
  )
    .usage("[options] <pod | svc/name> <[local:]remote...>")
    .addHelpText(
      "after",
      "\nREMOTE is a number, or the name that a container gives a port; of a Service, a port of the Service's. The local one is the same unless it is given; :REMOTE takes any that is free.",
    );
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

/** `debug`, which is also what commands about a whole node are below. */
export function declareDebug(command: Declare): Command {
  return command(
    "debug [name] [command...]",
    "run a container with tools in a pod, among the processes of one of its containers",
    async () => (await import("./debug.ts")).debug,
  )
    .usage("[options] <pod | container> [-- command...]")
    .option("--image <image>", "the image with the tools (PODRT_DEBUG_IMAGE); busybox unless told")
    .option("-i, --stdin", "pass standard input on, as without a command")
    .option("-t, --tty", "give it a terminal, as without a command on one")
    .addHelpText("after", "\nThe files of a process that it sees are below /proc/PID/root.");
}
