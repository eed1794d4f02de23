// SPDX-License-Identifier: Apache-2.0

/** A command of a page, with what the page shows of its output. */
export interface PageCommand {
  /** Of the line in the page; the first is 1. */
  readonly line: number;
  /** As a shell takes it; several lines where it is continued. */
  readonly text: string;
  /** What the page shows beneath it: undefined in a block of commands alone. */
  readonly output: string | undefined;
  /** The block is marked to be run. */
  readonly isRun: boolean;
  /** Its effect may come a moment later: it is repeated until it is as shown. */
  readonly isEventual: boolean;
}

const BLOCK = /^```(.*)\n([\s\S]*?)^```$/gm;

/**
 * The commands of a Markdown page: each line of a block `sh`, and each line behind `$ ` of a block `console`, whose other
 * lines are output, or of a block of no language that begins so. The words `run` and `eventually` may stand behind the language, which a reader does not see.
 */
export function commandsOf(page: string): PageCommand[] {
  return [...page.matchAll(BLOCK)].flatMap(({ index, 1: words, 2: body }) => {
    const [language, ...marks] = words!.trim().split(/\s+/);
    const isTranscript = language === "console" || (language === "" && body!.startsWith("$ "));
    if (language !== "sh" && !isTranscript) return [];
    const marked = { isRun: marks.includes("run"), isEventual: marks.includes("eventually") };
    const firstLine = page.slice(0, index).split("\n").length + 1;
    const commands = isTranscript ? transcriptOf(body!) : linesOf(body!);
    return commands.map(({ line, ...rest }) => ({ line: firstLine + line, ...rest, ...marked }));
  });
}

interface Command {
  readonly line: number;
  readonly text: string;
  readonly output: string | undefined;
}

function linesOf(body: string): Command[] {
  const commands: Command[] = [];
  let continued = "";
  for (const [line, text] of body.trimEnd().split("\n").entries()) {
    const whole = continued === "" ? text : `${continued}\n${text}`;
    const lines = whole.split("\n").length;
    continued = text.endsWith("\\") ? whole : "";
    if (continued === "" && !/^\s*(#|$)/.test(whole))
      commands.push({ line: line - lines + 1, text: whole, output: undefined });
  }
  return commands;
}

function transcriptOf(body: string): Command[] {
  const commands: { line: number; text: string; output: string }[] = [];
  for (const [line, text] of body.trimEnd().split("\n").entries()) {
    const last = commands.at(-1);
    if (text.startsWith("$ ")) commands.push({ line, text: text.slice(2), output: "" });
    else if (last !== undefined && last.output === "" && last.text.endsWith("\\")) last.text += `\n${text}`;
    else if (last !== undefined) last.output += `${text}\n`;
  }
  return commands;
}

/**
 * Whether a command has written what a page shows: `…` stands for anything in a line, a line of it alone for any
 * lines, and blanks are as many as there are.
 */
export function isAsShown(shown: string, written: string): boolean {
  const lines = linesWithout(written);
  /** How many of the written lines may have been matched so far. */
  let ends = new Set([0]);
  for (const line of linesWithout(shown)) {
    if (line === "…") {
      const first = Math.min(...ends);
      ends = new Set(lines.concat("").flatMap((_, end) => (end < first ? [] : end)));
    } else {
      const pattern = patternOf(line);
      ends = new Set([...ends].filter((end) => pattern.test(lines[end] ?? "\n")).map((end) => end + 1));
    }
  }
  return ends.has(lines.length);
}

/** The lines of a text without the blanks around and the repeated ones within. */
function linesWithout(text: string): string[] {
  const trimmed = text.trim();
  return trimmed === "" ? [] : trimmed.split("\n").map((line) => line.trim().replaceAll(/\s+/g, " "));
}

function patternOf(line: string): RegExp {
  const parts = line.split("…").map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*?")}$`);
}
