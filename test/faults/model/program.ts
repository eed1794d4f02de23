// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";

/** What a container runs: it numbers its lines, so that every one can be accounted for. */
export type Program =
  /** Goes on until it is told to stop; it says its last word then. */
  | { readonly kind: "endless" }
  /** Writes so many lines after a while and ends with the code. */
  | { readonly kind: "brief"; readonly lines: number; readonly code: number; readonly afterMs: number };

export const programs: fc.Arbitrary<Program> = fc.oneof(
  { arbitrary: fc.constant({ kind: "endless" as const }), weight: 3 },
  {
    arbitrary: fc.record({
      kind: fc.constant("brief" as const),
      lines: fc.constantFrom(0, 1, 40, 2000),
      code: fc.integer({ min: 0, max: 100 }),
      afterMs: fc.constantFrom(0, 0, 300, 1500),
    }),
    weight: 2,
  },
);

/** The code of an endless one that was told to stop. */
const TOLD = 3;
const KILLED = 137;

export function commandOf(program: Program): string[] {
  const loop = (condition: string, rest: string) =>
    `i=0; while ${condition}; do i=$((i+1)); echo line $i; ${rest} done`;
  if (program.kind === "endless")
    return ["sh", "-c", `trap 'echo last; exit ${TOLD}' TERM; ${loop(":", "sleep 0.4 & wait $!;")}`];
  const { lines, code, afterMs } = program;
  return ["sh", "-c", `sleep ${afterMs / 1000}; ${loop(`[ $i -lt ${lines} ]`, "")}; exit ${code}`];
}

/** Codes with which it ends by itself. */
export function ownCodes(program: Program): number[] {
  return program.kind === "brief" ? [program.code] : [];
}

/** Codes with which it ends when it is told to, and killed unless it does; a signal is minded only after a moment. */
export function stopCodes(): number[] {
  return [TOLD, KILLED, 143];
}

/** Contents of the lines of a log; a line that came in pieces is one, and the last may have no end yet. */
function linesOf(text: string): { readonly lines: string[]; readonly unended: string } {
  const lines: string[] = [];
  let unended = "";
  for (const record of text.split("\n").slice(0, -1)) {
    const [, tag, content = ""] = / stdout ([FP]) (.*?)\r?$/.exec(record) ?? [];
    unended += tag === undefined ? `not a record of a log: ${record}` : content;
    if (tag === "P") continue;
    lines.push(unended);
    unended = "";
  }
  return { lines, unended };
}

/** What is wrong with a log that is in these files, oldest first: lines that are lost, doubled, torn or out of order. */
export function logProblems(
  paths: readonly string[],
  program: Program,
  exitCode: number | undefined,
): string[] {
  const text = paths.map((path) => (existsSync(path) ? readFileSync(path, "utf8") : "")).join("");
  const name = paths.at(-1);
  if (text !== "" && !text.endsWith("\n")) return [`${name} ends in a torn record: ${text.slice(-80)}`];
  const { lines, unended } = linesOf(text);
  const saidLast = lines.at(-1) === "last";
  const numbered = saidLast ? lines.slice(0, -1) : lines;
  const wrong = numbered.findIndex((line, index) => line !== `line ${index + 1}`);
  if (wrong >= 0) return [`line ${wrong + 1} of ${name}, after ${lines[wrong - 1]}: ${lines[wrong]}`];
  // Only a process that is killed in the middle of a write to its terminal leaves half a line.
  if (unended !== "" && exitCode !== KILLED && exitCode !== undefined) return [`${name} ends in ${unended}`];
  if (program.kind === "brief") {
    const isWhole = exitCode === program.code ? numbered.length === program.lines : true;
    return isWhole ? [] : [`${name} has ${numbered.length} of ${program.lines} lines`];
  }
  return exitCode === TOLD && !saidLast ? [`${name} lacks the last word`] : [];
}
