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

/** Past so many, problems are counted and no longer listed. */
const MAX_LISTED = 20;

/** Collects what is wrong with one manifest. */
export class Problems {
  readonly #fileName: string;
  readonly #lineCounter: LineCounter;
  readonly #listed: Problem[] = [];
  #count = 0;

  constructor(fileName: string, lineCounter: LineCounter) {
    this.#fileName = fileName;
    this.#lineCounter = lineCounter;
  }

  /** Notes a problem at a character offset of the manifest. */
  add(offset: number, path: string, message: string): void {
    this.#count++;
    if (this.#listed.length === MAX_LISTED) return;
    const { line, col } = this.#lineCounter.linePos(offset);
    this.#listed.push({ line: Math.max(line, 1), column: Math.max(col, 1), path, message });
  }

  count(): number {
    return this.#count;
  }

  /** The error for a problem with the manifest as a whole. */
  single(message: string): ManifestError {
    return new ManifestError([{ line: 1, column: 1, path: "", message }], `${this.#fileName}: ${message}`);
  }

  /** Throws a ManifestError if any problem was noted, in the order of the text. */
  throwIfAny(): void {
    if (this.#count === 0) return;
    const sorted = this.#listed.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const lines = sorted.map(({ line, column, path, message }) =>
      [`${this.#fileName}:${line}:${column}`, ...(path === "" ? [] : [path]), message].join(": "),
    );
    const unlisted = this.#count - sorted.length;
    if (unlisted > 0) lines.push(`${this.#fileName}: and ${unlisted} more problems`);
    throw new ManifestError(sorted, lines.join("\n"));
  }
}
