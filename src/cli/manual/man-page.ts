// SPDX-License-Identifier: Apache-2.0
import type { CommandDescription, OptionDescription } from "./describe.ts";
import { COMMON_OPTIONS } from "./help.ts";
import { TOPICS, type Topic } from "./topics.ts";

const LINE = 76;
const SECTION = 1;

/** What stands in the head and foot of every page. */
export interface Edition {
  readonly version: string;
  readonly date: Date;
}

/** `podrt-volume-rm.1`. */
export function pageName({ words }: CommandDescription): string {
  return `${titleOf(words)}.${SECTION}`;
}

/** The manual page of a command in mdoc(7), which groff and mandoc both read; `program` is the tree's root. */
export function manPage(command: CommandDescription, program: CommandDescription, edition: Edition): string {
  const isProgram = command.words.length === 0;
  const month = edition.date.toLocaleString("en-US", { month: "long", timeZone: "UTC" });
  return [
    `.Dd ${month} ${edition.date.getUTCDate()}, ${edition.date.getUTCFullYear()}`,
    `.Dt ${titleOf(command.words).toUpperCase()} ${SECTION}`,
    `.Os podrt ${edition.version}`,
    ".Sh NAME",
    `.Nm ${titleOf(command.words)}`,
    `.Nd ${roff(command.summary.replace(/\.$/, ""))}`,
    ".Sh SYNOPSIS",
    ...command.usages.map((usage) => `.Dl ${quoted(usage)}`),
    ".Sh DESCRIPTION",
    ...prose(`${command.summary[0]!.toUpperCase()}${command.summary.slice(1)}.`.replace("..", ".")),
    ...optionGroups(command),
    ...(isProgram ? [] : command.notes.flatMap((note) => [".Pp", ...prose(note)])),
    ...commandList(command),
    ...(isProgram ? TOPICS.flatMap(topic) : []),
    ...examples(command),
    ...seeAlso(command, program),
    "",
  ].join("\n");
}

function titleOf(words: readonly string[]): string {
  return ["podrt", ...words].join("-");
}

function optionGroups({ optionGroups: groups, words }: CommandDescription): string[] {
  return groups.flatMap(({ heading, options }) => {
    const isCommon = heading === COMMON_OPTIONS;
    // Said once, in podrt(1).
    if (isCommon && words.length > 0)
      return [".Pp", "The options of every command are those of", ".Xr podrt 1 ."];
    const head = heading === "Options:" ? [] : [".Pp", ...prose(heading)];
    return [...head, ...tagged(options.map((option) => [optionTag(option), meaning(option)]))];
  });
}

/** `Fl o , Fl \-output Ar format`, of `-o, --output <format>`. */
function optionTag({ flags }: OptionDescription): string {
  const [, names = "", value] = /^([^<[]*?)\s*(?:<(.*)>|$)/.exec(flags) ?? [];
  const shown = names.split(", ").map((name) => `Fl ${name.slice(1).replaceAll("-", "\\-")}`);
  return `${shown.join(" , ")}${value === undefined ? "" : ` Ar ${quoted(value)}`}`;
}

function meaning({ text, choices, fallback }: OptionDescription): string {
  const more = [
    ...(choices.length === 0 ? [] : [`One of ${choices.map((choice) => `\`${choice}\``).join(", ")}.`]),
    ...(fallback === undefined ? [] : [`Unless told, \`${fallback}\`.`]),
  ];
  return [`${text[0]!.toUpperCase()}${text.slice(1)}.`, ...more].join(" ");
}

function commandList({ commands, words }: CommandDescription): string[] {
  if (commands.length === 0) return [];
  const groups = words.length > 0 ? [""] : [...new Set(commands.map(({ group }) => group))];
  return [
    ".Sh COMMANDS",
    ...groups.flatMap((group) => [
      ...(group === "" ? [] : [`.Ss ${roff(group.replace(/:$/, ""))}`]),
      ...tagged(
        commands
          .filter((command) => group === "" || command.group === group)
          .map((command) => [
            `Xr ${titleOf(command.words)} ${SECTION}`,
            `${command.summary[0]!.toUpperCase()}${command.summary.slice(1)}.`,
          ]),
      ),
    ]),
  ];
}

function topic({ title, text, items = [] }: Topic): string[] {
  return [
    `.Sh ${title.toUpperCase()}`,
    ...text.flatMap((paragraph, index) => [...(index === 0 ? [] : [".Pp"]), ...prose(paragraph)]),
    ...tagged(
      items.map(([term, meant]) => [`Sy ${quoted(term)}`, `${meant[0]!.toUpperCase()}${meant.slice(1)}.`]),
    ),
  ];
}

function examples({ examples: lines }: CommandDescription): string[] {
  if (lines.length === 0) return [];
  const shown = lines.flatMap(([line, what], index) => [
    ...(index === 0 ? [] : [".Pp"]),
    ...prose(`${what[0]!.toUpperCase()}${what.slice(1)}:`),
    ".Pp",
    `.Dl ${quoted(line)}`,
  ]);
  return [".Sh EXAMPLES", ...shown];
}

function seeAlso({ words, commands }: CommandDescription, program: CommandDescription): string[] {
  const group = words.length < 2 ? [] : program.commands.filter((command) => command.words[0] === words[0]);
  const others = words.length === 0 ? commands : [program, ...group, ...commands];
  const titles = others.map((other) => titleOf(other.words)).toSorted();
  return [
    ".Sh SEE ALSO",
    ...titles.map((title, index) => `.Xr ${title} ${SECTION}${index < titles.length - 1 ? " ," : ""}`),
  ];
}

function tagged(items: readonly (readonly [tag: string, text: string])[]): string[] {
  if (items.length === 0) return [];
  return [".Bl -tag -width Ds", ...items.flatMap(([tag, text]) => [`.It ${tag}`, ...prose(text)]), ".El"];
}

/** Text lines: a new one for each sentence, none too long, what is in backticks bold. */
function prose(text: string): string[] {
  return text.split(/(?<=[.!?]) (?=[A-Z`])/).flatMap((sentence) => {
    // What is in backticks stays in one line.
    const words = (sentence.match(/(?:`[^`]*`|[^\s`])+/g) ?? []).map((word) =>
      roff(word).replace(/`([^`]*)`/g, "\\fB$1\\fR"),
    );
    return wrap(words).map((line) => (/^[.']/.test(line) ? `\\&${line}` : line));
  });
}

function wrap(words: readonly string[]): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= LINE)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** An argument of a macro, in which no word is one. */
function quoted(text: string): string {
  return `"${roff(text)}"`;
}

/** roff's own characters as themselves, and what is not ASCII by its number. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll('"', "\\(dq")
    .replace(/[^ -~]/gu, (character) => `\\[u${hex(character.codePointAt(0)!)}]`);
}

function hex(codePoint: number): string {
  return codePoint.toString(16).toUpperCase().padStart(4, "0");
}
