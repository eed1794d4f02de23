// SPDX-License-Identifier: Apache-2.0

const MAX_LENGTH = 4096;
const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  "\\": "\\",
  "{": "{",
  "}": "}",
};

/** Text with `{.path}` in it: each piece is literal text, or the names and positions of a path. */
export type Template = readonly (string | readonly string[])[];

/**
 * Reads a template: literal text; `{.name}`, `{.list[0].name}` or `{.labels["a.b"]}` for a value, `{.}` for all of it;
 * `\n`, `\t`, and `\{`, `\}`, `\\` for themselves. Throws an Error whose message says what is wrong and where.
 */
export function parseTemplate(text: string): Template {
  if (text.length > MAX_LENGTH) throw new Error(`a template has at most ${MAX_LENGTH} characters`);
  const pieces: (string | readonly string[])[] = [];
  let literal = "";
  let at = 0;
  while (at < text.length) {
    const character = text[at]!;
    if (character === "\\") {
      const escaped = ESCAPES[text[at + 1] ?? ""];
      if (escaped === undefined)
        throw new Error(`\\${text[at + 1] ?? ""} at ${at + 1} is none of \\n \\t \\{ \\} \\\\`);
      literal += escaped;
      at += 2;
    } else if (character === "{") {
      const end = text.indexOf("}", at);
      if (end < 0) throw new Error(`the { at ${at + 1} is not closed`);
      if (literal !== "") pieces.push(literal);
      literal = "";
      pieces.push(parsePath(text.slice(at + 1, end)));
      at = end + 1;
    } else if (character === "}") {
      throw new Error(`the } at ${at + 1} closes nothing; write \\} for one`);
    } else {
      literal += character;
      at++;
    }
  }
  if (literal !== "") pieces.push(literal);
  return pieces;
}

function parsePath(text: string): string[] {
  if (text === ".") return [];
  const steps: string[] = [];
  const step = /\.([A-Za-z_][\w-]*)|\[(\d+)\]|\["([^"\]]+)"\]/y;
  while (step.lastIndex < text.length) {
    const at = step.lastIndex;
    const match = step.exec(text);
    if (match === null)
      throw new Error(`{${text}} is no path such as {.name} or {.list[0]}: ${text.slice(at)}`);
    steps.push(match[1] ?? match[2] ?? match[3]!);
  }
  if (steps.length === 0) throw new Error("{} names nothing; {.} is all of it");
  return steps;
}

/**
 * Fills a template from a JSON value: texts as they are, numbers and booleans as JSON writes them, nothing for null,
 * objects and lists as JSON in one line. Throws an Error for a name that the value has not, with those that it has.
 */
export function fillTemplate(template: Template, value: unknown): string {
  return template.map((piece) => (typeof piece === "string" ? piece : shown(lookUp(value, piece)))).join("");
}

function lookUp(value: unknown, path: readonly string[]): unknown {
  let current = value;
  for (const step of path) {
    if (current === null || current === undefined) return undefined;
    // A list may be shorter than the position: there is nothing then.
    if (Array.isArray(current)) {
      if (!/^\d+$/.test(step)) throw new Error(`.${step} is asked of a list; say which, as in [0]`);
      current = current[Number(step)];
      continue;
    }
    if (typeof current !== "object")
      throw new Error(`.${step} is asked of ${JSON.stringify(current)}, which has no parts`);
    if (!Object.hasOwn(current, step)) {
      throw new Error(
        `there is no .${step}; there are ${Object.keys(current)
          .map((name) => `.${name}`)
          .join(", ")}`,
      );
    }
    current = (current as Readonly<Record<string, unknown>>)[step];
  }
  return current;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
