// SPDX-License-Identifier: Apache-2.0
import type { EventEmitter } from "node:events";
import type { Command, Option } from "commander";
import { ENTRIES } from "./entries.ts";

/** What stands above the examples in help. */
export const EXAMPLES_HEADING = "Examples:\n";

/** A command as its help, its manual page and the reference tell of it. */
export interface CommandDescription {
  /** Its words after the program's name; empty for the program itself. */
  readonly words: readonly string[];
  /** One sentence without a capital or a full stop. */
  readonly summary: string;
  /** Each way to write it, from `podrt` on. */
  readonly usages: readonly string[];
  readonly group: string;
  readonly optionGroups: readonly OptionGroup[];
  /** Paragraphs beside them. */
  readonly notes: readonly string[];
  readonly examples: readonly (readonly [command: string, what: string])[];
  /** Whether it does something by itself, rather than only by what is below it. */
  readonly canRun: boolean;
  /** What is below it. */
  readonly commands: readonly CommandDescription[];
}

export interface OptionGroup {
  /** As help heads it, with a colon. */
  readonly heading: string;
  readonly options: readonly OptionDescription[];
}

export interface OptionDescription {
  /** `-o, --output <format>`. */
  readonly flags: string;
  readonly text: string;
  /** What it can be, where that is a list. */
  readonly choices: readonly string[];
  /** As one would type it; undefined where there is none. */
  readonly fallback: string | undefined;
}

/** Tells of a command and of all below it, hidden ones left out. */
export function describeCommand(command: Command): CommandDescription {
  const words = wordsOf(command);
  const help = command.createHelp();
  const name = ["podrt", ...words].join(" ");
  const usage = command.usage();
  return {
    words,
    summary: command.description(),
    usages: usage.split(/\n\s*/).map((one) => (one.startsWith("podrt ") ? one : `${name} ${one}`.trim())),
    group: command.helpGroup(),
    optionGroups: grouped(help.visibleOptions(command)),
    notes: notesOf(command),
    examples: Object.entries(ENTRIES[words.join(" ")]?.examples ?? {}),
    canRun: command.commands.length === 0 || command.registeredArguments.length > 0,
    commands: help.visibleCommands(command).map(describeCommand),
  };
}

/** A command's words after the program's name. */
export function wordsOf(command: Command): string[] {
  return command.parent === null ? [] : [...wordsOf(command.parent), command.name()];
}

/** All that can be run, in the order of the tree. */
export function runnable(command: CommandDescription): CommandDescription[] {
  return [...(command.canRun ? [command] : []), ...command.commands.flatMap(runnable)];
}

/** What a declaration adds to the end of its help, before the examples. */
function notesOf(command: Command): string[] {
  let text = "";
  const write = (piece: string) => {
    text += piece;
  };
  // Commander's types leave out that a command is an emitter, by which it adds these texts itself.
  (command as Command & Pick<EventEmitter, "emit">).emit("afterHelp", { error: false, command, write });
  return text
    .split(EXAMPLES_HEADING)[0]!
    .split(/\n{2,}/)
    .map((paragraph) => paragraph.trim().replaceAll(/\s+/g, " "))
    .filter((paragraph) => paragraph !== "");
}

function grouped(options: readonly Option[]): OptionGroup[] {
  const headings = [...new Set(options.map(headingOf))];
  return headings.map((heading) => ({
    heading,
    options: options.filter((option) => headingOf(option) === heading).map(describeOption),
  }));
}

function headingOf({ helpGroupHeading }: Option): string {
  return helpGroupHeading ?? "Options:";
}

function describeOption(option: Option): OptionDescription {
  const { flags, description, argChoices, defaultValue, defaultValueDescription } = option;
  return {
    flags,
    text: description,
    choices: argChoices ?? [],
    fallback: defaultValue === undefined ? undefined : (defaultValueDescription ?? String(defaultValue)),
  };
}
