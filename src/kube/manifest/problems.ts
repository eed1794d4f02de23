// SPDX-License-Identifier: Apache-2.0
import type { LineCounter } from "yaml";
import { InvalidArgumentError } from "../../errors.ts";

/** A mistake in a manifest; lines and columns count from 1. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  /** As in `spec.containers[0].image`; empty when the problem is not about a field. */
  readonly path: string;
  readonly message: string;
}

/** A manifest that is wrong. The message has one line for each problem, `file:line:column: field: what`. */
export class ManifestError extends InvalidArgumentError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], message: string) {
    super("", message);
    this.problems = problems;
  }
}

/** Past so many, problems are counted and no longer listed, and notes are dropped. */
const MAX_LISTED = 20;

/** Collects what is wrong with one file of a manifest. */
export class Problems {
  readonly #fileName: string;
  readonly #lineCounter: LineCounter;
  readonly #listed: Problem[] = [];
  readonly #notes: Problem[] = [];
  #count = 0;
  #whole: string | undefined;

  constructor(fileName: string, lineCounter: LineCounter) {
    this.#fileName = fileName;
    this.#lineCounter = lineCounter;
  }

  /** Notes a problem at a character offset of the manifest. */
  add(offset: number, path: string, message: string): void {
    this.#count++;
    this.#list(this.#listed, offset, path, message);
  }

  /** Notes what is right, of no effect, and should be known. */
  note(offset: number, path: string, message: string): void {
    this.#list(this.#notes, offset, path, message);
  }

  /** An offset as `file:line:column`. */
  place(offset: number): string {
    const { line, col } = this.#lineCounter.linePos(offset);
    return `${this.#fileName}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
  }

  /** A line for each note, in the order of the text. */
  notes(): string[] {
    return this.#linesOf(this.#notes);
  }

  #list(where: Problem[], offset: number, path: string, message: string): void {
    if (where.length === MAX_LISTED) return;
    const { line, col } = this.#lineCounter.linePos(offset);
    where.push({ line: Math.max(line, 1), column: Math.max(col, 1), path, message });
  }

  #linesOf(problems: readonly Problem[]): string[] {
    return inOrder(problems).map(({ line, column, path, message }) =>
      [`${this.#fileName}:${line}:${column}`, ...(path === "" ? [] : [path]), message].join(": "),
    );
  }

  count(): number {
    return this.#count;
  }

  /** Notes a problem with the text as a whole. */
  addWhole(message: string): void {
    this.#count++;
    this.#whole ??= message;
  }

  /** Those that are listed, in the order of the text. */
  listed(): Problem[] {
    const whole = this.#whole === undefined ? [] : [{ line: 1, column: 1, path: "", message: this.#whole }];
    return [...whole, ...inOrder(this.#listed)];
  }

  /** A line for each problem, and one for those past the limit. */
  lines(): string[] {
    const whole = this.#whole === undefined ? [] : [`${this.#fileName}: ${this.#whole}`];
    const lines = [...whole, ...this.#linesOf(this.#listed)];
    const unlisted = this.#count - lines.length;
    return unlisted > 0 ? [...lines, `${this.#fileName}: and ${unlisted} more problems`] : lines;
  }
}

/** Throws a ManifestError if any problem was noted in one of the files. */
export function throwProblems(files: readonly Problems[]): void {
  if (files.every((problems) => problems.count() === 0)) return;
  throw new ManifestError(
    files.flatMap((problems) => problems.listed()),
    files.flatMap((problems) => problems.lines()).join("\n"),
  );
}

function inOrder(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}
