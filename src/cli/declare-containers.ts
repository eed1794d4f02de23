// SPDX-License-Identifier: Apache-2.0
import { documentOption, listOption } from "./output/format.ts";
import type { Declare } from "./program.ts";

/** The commands about single containers. */
export function declareContainers(command: Declare): void {
  command("ps", "list running containers", async () => (await import("./ps.ts")).ps)
    .option("-a, --all", "also those that ended, and the pause of each pod")
    .addOption(listOption());
  command(
    "exec <container> <command...>",
    "run a command in a container",
    async () => (await import("./exec.ts")).exec,
  )
    .usage("[options] <container> -- <command> [argument...]")
    .option("-i, --stdin", "pass standard input on")
    .option("-t, --tty", "give the command a terminal")
    .passThroughOptions();
  command(
    "attach <container>",
    "join the terminal or streams of a container; Ctrl-P Ctrl-Q leaves",
    async () => (await import("./attach.ts")).attach,
  );
  command(
    "inspect <name>",
    "print everything about a pod, container or image as JSON",
    async () => (await import("./inspect.ts")).inspect,
  )
    .usage("[options] <pod | container | image>")
    .addOption(documentOption());
}
