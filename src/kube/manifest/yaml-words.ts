// SPDX-License-Identifier: Apache-2.0
import type { YAMLError } from "yaml";

export const TAB_WORDS = "a tab indents this line; YAML takes spaces only";

/** Where the line of a mistake, or the next, begins, if a tab indents it: then that is the mistake. */
export function tabNear(text: string, offset: number): number | undefined {
  const start = text.lastIndexOf("\n", offset - 1) + 1;
  const next = text.indexOf("\n", offset) + 1;
  return [start, ...(next === 0 ? [] : [next])].find((line) => /^ *\t/.test(text.slice(line, line + 200)));
}

/** What is wrong with the YAML, for a person who knows manifests and not the grammar of YAML. */
export function yamlWords({ code, message, pos }: YAMLError, text: string): string {
  const [first = ""] = message.split("\n");
  switch (code) {
    case "TAB_AS_INDENT":
      return TAB_WORDS;
    case "BLOCK_AS_IMPLICIT_KEY": {
      const [rest = ""] = text.slice(pos[0]).split("\n");
      return /:\s/.test(rest)
        ? "a second ': ' stands in this line; put the value in quotes, or each field on a line of its own"
        : "the next line is indented deeper than it can be; align it with its neighbours";
    }
    case "MULTILINE_IMPLICIT_KEY":
    case "BAD_INDENT":
      return "is indented differently from its neighbours; align it with them";
    case "MISSING_CHAR":
      if (/closing .*quote/.test(first)) return "a quote is opened and never closed; close it";
      return /Implicit map keys/.test(first) ? "expected a field as in `name: value`" : first;
    default:
      if (/^Sequence item without/.test(first)) {
        return "is indented as an entry of the list above, and does not begin with '- '";
      }
      return message.startsWith("Maximum call stack") ? "is nested too deeply" : first;
  }
}
