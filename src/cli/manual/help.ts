// SPDX-License-Identifier: Apache-2.0
import { type Command, type Help, Option } from "commander";
import { nearMiss } from "../../kube/manifest/near-miss.ts";
import { UsageError } from "../usage-error.ts";
import { EXAMPLES_HEADING, wordsOf } from "./describe.ts";
import { ENTRIES, GROUPS } from "./entries.ts";

/** The heading of what every command takes. */
export const COMMON_OPTIONS = "Options of every command:";

export const HELP_OPTION = new Option("-h, --help", "explain how to use it").helpGroup(COMMON_OPTIONS);

/** How help is laid out: what is below a command by its name alone. */
export const HELP_LAYOUT: Partial<Help> = { subcommandTerm: (command) => command.name() };

/** Puts the manual's groups and examples into the help of a tree. */
export function addManual(program: Command): void {
  for (const command of program.commands) {
    const { group } = ENTRIES[command.name()] ?? {};
    if (group !== undefined) command.helpGroup(group);
  }
  // Commander lists groups as it meets their first member.
  const place = (command: Command) => (GROUPS as readonly string[]).indexOf(command.helpGroup());
  (program.commands as Command[]).sort((a, b) => place(a) - place(b));
  addToHelp(program);
}

function addToHelp(command: Command): void {
  for (const below of command.commands) addToHelp(below);
  // `podrt help` goes to whatever depth is asked for.
  command.helpCommand(false);
  const isCommon = ({ helpGroupHeading }: Option) => (helpGroupHeading === COMMON_OPTIONS ? 1 : 0);
  (command.options as Option[]).sort((a, b) => isCommon(a) - isCommon(b));
  const examples = Object.entries(ENTRIES[wordsOf(command).join(" ")]?.examples ?? {});
  if (examples.length === 0) return;
  const lines = examples.map(([line, what]) => `  ${line}\n      ${what}`);
  command.addHelpText("after", `\n${EXAMPLES_HEADING}${lines.join("\n")}`);
}

/** The command of these words; UsageError with a near miss where there is none. */
export function commandOf(program: Command, words: readonly string[]): Command {
  let command = program;
  for (const word of words) {
    const below = command.commands.find((one) => one.name() === word);
    if (below === undefined) throw noSuchCommand(command, word);
    command = below;
  }
  return command;
}

function noSuchCommand(above: Command, word: string): UsageError {
  const names = above.commands.map((command) => command.name());
  const meant = nearMiss(word, names);
  const hint = meant === undefined ? `\`podrt --help\` lists them` : `did you mean ${meant}?`;
  return new UsageError(`there is no command ${[...wordsOf(above), word].join(" ")}; ${hint}`);
}
