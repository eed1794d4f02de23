// SPDX-License-Identifier: Apache-2.0
import type { Command, Option } from "commander";
import { describeCommand } from "../manual/describe.ts";
import { KINDS, type Kind, placeholdersOf, wordsIn } from "./placeholders.ts";

/** What the word that is being typed may become. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  /** What of the file system, beside the candidates. */
  readonly files: "none" | "files" | "directories";
}

export interface Candidate {
  /** The whole word. */
  readonly value: string;
  /** What it is, in a few words; may be empty. */
  readonly text: string;
}

/** Asks for the names of pods and the like that begin with `prefix`; `options` are `root` and `socket` where they were typed. */
export type AskNames = (
  kind: Kind,
  prefix: string,
  options: { readonly root?: string; readonly socket?: string },
) => Promise<readonly Candidate[]>;

const NOTHING: Completion = { candidates: [], files: "none" };

/**
 * Completes the last of `words`, those of a command line after the program's name; it may be empty. What a place takes is
 * read from the usage of the command: `<pod | container...>` is completed with the names of both.
 */
export async function complete(
  program: Command,
  words: readonly string[],
  ask: AskNames,
): Promise<Completion> {
  const current = words.at(-1) ?? "";
  const typed = readWords(program, words.slice(0, -1));
  const { command, operands, values } = typed;
  const askHere = (kind: Kind, prefix: string) => ask(kind, prefix, values);
  if (typed.awaiting !== undefined) return await completeValue(typed.awaiting, current, "", askHere);
  if (typed.isFree) return NOTHING;
  const assignment = /^(--[^=]+)=(.*)$/s.exec(current);
  if (assignment !== null && !typed.hasDashes) {
    const option = findOption(command, assignment[1]!);
    return option === undefined
      ? NOTHING
      : await completeValue(option, assignment[2]!, `${assignment[1]}=`, askHere);
  }
  if (current.startsWith("-") && !typed.hasDashes) return beginningWith(current, optionsOf(command));
  if (isHelp(command)) {
    const above = operands.reduce<Command | undefined>(
      (at, name) => at?.commands.find((below) => below.name() === name),
      program,
    );
    return beginningWith(current, above === undefined ? [] : commandsOf(above));
  }
  const here = placeholdersOf(describeCommand(command).usages, operands.length);
  const choices = command.registeredArguments[operands.length]?.argChoices ?? [];
  const own = [
    ...(operands.length === 0 ? commandsOf(command) : []),
    ...choices.map((value) => ({ value, text: "" })),
  ];
  const { candidates, files } = await namesFor(wordsIn(here), current, askHere);
  const fresh = [...own, ...candidates].filter(({ value }) => !operands.includes(value));
  return { ...beginningWith(current, fresh), files };
}

interface Typed {
  readonly command: Command;
  readonly operands: readonly string[];
  readonly values: { root?: string; socket?: string };
  /** The option whose value comes next. */
  readonly awaiting: Option | undefined;
  /** Whether there was a `--`. */
  readonly hasDashes: boolean;
  /** Whether what comes next are another program's words. */
  readonly isFree: boolean;
}

function readWords(program: Command, words: readonly string[]): Typed {
  let command = program;
  let operands: string[] = [];
  let awaiting: Option | undefined;
  let hasDashes = false;
  const values: { root?: string; socket?: string } = {};
  const note = (option: Option, value: string) => {
    const name = option.attributeName();
    if (name === "root" || name === "socket") values[name] = value;
  };
  const isFree = () => isOthers(command, operands.length);
  for (const word of words) {
    if (awaiting !== undefined) {
      note(awaiting, word);
      awaiting = undefined;
    } else if (word === "--" && !hasDashes) {
      hasDashes = true;
    } else if (word.startsWith("-") && word !== "-" && !hasDashes && !isFree()) {
      const [flag, ...rest] = word.startsWith("--") ? word.split("=") : [lastFlagOf(command, word)];
      const option = findOption(command, flag!);
      if (option === undefined || !takesValue(option)) continue;
      if (rest.length > 0) note(option, rest.join("="));
      else if (word.startsWith("--") || word.endsWith(flag![1]!)) awaiting = option;
    } else {
      const below = operands.length === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (below !== undefined) command = below;
      operands = below === undefined ? [...operands, word] : [];
    }
  }
  return { command, operands, values, awaiting, hasDashes, isFree: isFree() };
}

/** Of `-it` the `-t`; of `-t5` also, since what takes a value ends the flags. */
function lastFlagOf(command: Command, word: string): string {
  const letters = [...word.slice(1)];
  const valued = letters.findIndex((letter) => {
    const option = findOption(command, `-${letter}`);
    return option !== undefined && takesValue(option);
  });
  return `-${letters[valued < 0 ? letters.length - 1 : valued]}`;
}

/** Whether every way to write the command has another program's words at this place. */
function isOthers(command: Command, position: number): boolean {
  if (command.registeredArguments.length === 0 || isHelp(command)) return false;
  const here = placeholdersOf(describeCommand(command).usages, position);
  return (
    here.length > 0 && here.every((words) => words.every((word) => word === "command" || word === "argument"))
  );
}

/** The one whose operands are podrt's own commands. */
function isHelp(command: Command): boolean {
  return command.name() === "help";
}

function findOption(command: Command, flag: string): Option | undefined {
  return command.options.find(({ short, long }) => flag === short || flag === long);
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

async function completeValue(
  option: Option,
  typed: string,
  before: string,
  ask: (kind: Kind, prefix: string) => Promise<readonly Candidate[]>,
): Promise<Completion> {
  if (!takesValue(option)) return NOTHING;
  const [, placeholder = ""] = /<([^>]+)>|$/.exec(option.flags) ?? [];
  const { candidates, files } = await namesFor(wordsIn([[placeholder]]), typed, ask);
  const choices = (option.argChoices ?? []).map((value) => ({ value, text: "" }));
  const { candidates: found } = beginningWith(typed, [...choices, ...candidates]);
  return { candidates: found.map(({ value, text }) => ({ value: before + value, text })), files };
}

async function namesFor(
  words: readonly string[],
  prefix: string,
  ask: (kind: Kind, prefix: string) => Promise<readonly Candidate[]>,
): Promise<Completion> {
  const kinds = new Set(words.flatMap((word) => KINDS[word] ?? []));
  const files = kinds.has("file") ? "files" : kinds.has("directory") ? "directories" : "none";
  const names = await Promise.all(
    [...kinds].map(async (kind) => {
      if (kind === "file" || kind === "directory") return [];
      if (kind !== "place") return await ask(kind, prefix);
      const containers = prefix.includes(":") ? [] : await ask("container", prefix);
      return containers.map(({ value, text }) => ({ value: `${value}:`, text }));
    }),
  );
  return { candidates: names.flat(), files };
}

function commandsOf(command: Command): Candidate[] {
  return describeCommand(command).commands.map(({ words, summary }) => ({
    value: words.at(-1)!,
    text: summary,
  }));
}

function optionsOf(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map(({ long, short, description }) => ({
      value: long ?? short ?? "",
      text: description,
    }));
}

/** Of several with one value the first. */
function beginningWith(prefix: string, candidates: readonly Candidate[]): Completion {
  const found = new Map<string, Candidate>();
  for (const candidate of candidates) {
    if (candidate.value.startsWith(prefix) && !found.has(candidate.value))
      found.set(candidate.value, candidate);
  }
  return { candidates: [...found.values()], files: "none" };
}
