// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type CommandDescription,
  describeCommand,
  type OptionDescription,
  runnable,
} from "../src/cli/manual/describe.ts";
import { COMMON_OPTIONS } from "../src/cli/manual/help.ts";
import { TOPICS, type Topic } from "../src/cli/manual/topics.ts";
import { commandTree } from "../src/cli/program.ts";

/** Writes docs/reference.md, every command and what holds for all of them, from the tree that the commands are declared in. */

export const pageFile = join(import.meta.dir, "..", "docs", "reference.md");

const INTRODUCTION = `# Commands

Generated from the commands of \`src/cli/program.ts\` and \`src/cli/manual\` by \`make gen\`; do not edit.

\`podrt --help\` and \`podrt help COMMAND\` say the same on a terminal.
`;

export function referencePage(): string {
  const program = describeCommand(commandTree());
  const commands = program.commands.flatMap(runnable);
  return [
    INTRODUCTION,
    contents(program),
    ...TOPICS.map(topic),
    common(program),
    ...commands.map(section),
  ].join("\n");
}

function contents({ commands }: CommandDescription): string {
  const groups = [...new Set(commands.map(({ group }) => group))];
  const rows = groups.map((group) => {
    const links = commands
      .filter((command) => command.group === group)
      .flatMap(runnable)
      .map(({ words }) => `[${words.join(" ")}](#podrt-${words.join("-")})`);
    return `| ${group.replace(/:$/, "")} | ${links.join(", ")} |`;
  });
  return `${["| | |", "|---|---|", ...rows].join("\n")}\n`;
}

function topic({ title, text, items = [] }: Topic): string {
  const rows = items.map(([term, meaning]) => `| ${cell(`\`${term}\``)} | ${cell(meaning)} |`);
  return [
    `## ${title}`,
    "",
    ...text.flatMap((paragraph) => [paragraph, ""]),
    ...(rows.length === 0 ? [] : ["| | |", "|---|---|", ...rows, ""]),
  ].join("\n");
}

function common({ optionGroups }: CommandDescription): string {
  const options = optionGroups.filter(({ heading }) => heading === COMMON_OPTIONS);
  return [
    "## Options of every command",
    "",
    "`serve` and `pause` take only those that they list.",
    "",
    ...table(options.flatMap((group) => group.options)),
    "",
  ].join("\n");
}

function section({ words, summary, usages, optionGroups, notes, examples }: CommandDescription): string {
  const own = optionGroups.filter(({ heading }) => heading !== COMMON_OPTIONS);
  return [
    `## podrt ${words.join(" ")}`,
    "",
    `${summary[0]!.toUpperCase()}${summary.slice(1)}.`,
    "",
    "```",
    ...usages,
    "```",
    "",
    ...own.flatMap(({ heading, options }) => [
      ...(heading === "Options:" ? [] : [heading, ""]),
      ...table(options),
      "",
    ]),
    ...notes.flatMap((note) => [note, ""]),
    ...(examples.length === 0
      ? []
      : ["```sh", ...examples.flatMap(([line, what]) => [`# ${what}`, line]), "```", ""]),
  ].join("\n");
}

function table(options: readonly OptionDescription[]): string[] {
  const rows = options.map((option) => `| \`${cell(option.flags)}\` | ${cell(meaning(option))} |`);
  return ["| option | |", "|---|---|", ...rows];
}

function meaning({ text, choices, fallback }: OptionDescription): string {
  return [
    text,
    ...(choices.length === 0 ? [] : [`one of ${choices.map((choice) => `\`${choice}\``).join(", ")}`]),
    ...(fallback === undefined ? [] : [`\`${fallback}\` unless told`]),
  ].join("; ");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

if (import.meta.main) writeFileSync(pageFile, referencePage());
