// SPDX-License-Identifier: Apache-2.0
import { Argument, type Command } from "commander";
import { commandOf } from "./manual/help.ts";
import type { DeclareBelow } from "./program.ts";

/** Those that `podrt completion` knows. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** The commands that speak of the commands. */
export function declareManual(declare: DeclareBelow, program: Command): void {
  const noOptions = () => {};
  program
    .command("help [words...]")
    .description("explain a command")
    .usage("[command...]")
    .action((words: string[]) => commandOf(program, words).outputHelp());
  declare(
    program,
    "completion",
    "print what a shell sources to complete podrt's commands, options and names",
    async () => (await import("./completion/completion.ts")).completion,
    noOptions,
  ).addArgument(new Argument("<shell>").choices(SHELLS));
  declare(
    program,
    "man <dir>",
    "write the manual page of each command into a directory",
    async () => (await import("./manual/man.ts")).man,
    noOptions,
  );
  declare(
    program,
    "__complete [words...]",
    "answer a shell that completes",
    async () => (await import("./completion/completion.ts")).answerShell,
    noOptions,
  ).passThroughOptions();
}
