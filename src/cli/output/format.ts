// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, Option } from "commander";
import { parseTemplate } from "./template.ts";

/** How a command prints what it found. */
export type Output = "table" | "wide" | "json" | "yaml" | "name" | `template=${string}`;

const TEMPLATE = "template=";
const OF_LISTS = ["table", "wide", "json", "yaml", "name"] as const;
const OF_DOCUMENTS = ["json", "yaml"] as const;
const OF_REPORTS = ["table", ...OF_DOCUMENTS] as const;

/** What each format is, for the manual. */
export const FORMATS: readonly (readonly [format: string, text: string])[] = [
  ["table", "aligned columns for a person; what is long is cut"],
  ["wide", "more columns, and nothing is cut"],
  [
    "json",
    "a list of objects; names are added from version to version, and none goes or changes what it means",
  ],
  ["yaml", "the same as YAML"],
  ["name", "a name in each line, as other commands take it"],
  ["template=TEXT", "TEXT for each row, with `{.name}` where a value belongs"],
];

/** `-o` of a command that lists rows. */
export function listOption(): Option {
  return option(OF_LISTS, "table");
}

/** `-o` of a command that prints one document. */
export function documentOption(): Option {
  return option(OF_DOCUMENTS, "json");
}

/** `-o` of a command that tells something in words, or as a document. */
export function reportOption(): Option {
  return option(OF_REPORTS, "table");
}

/** Whether what is printed is for a program. */
export function isDocument(output: Output): boolean {
  return output !== "table" && output !== "wide" && output !== "name";
}

function option(words: readonly string[], fallback: Output): Option {
  const choices = `${words.join(", ")} or template=TEXT`;
  const output = new Option("-o, --output <format>", "how to print it")
    .default(fallback)
    .argParser((text) => {
      if (words.includes(text)) return text;
      if (!text.startsWith(TEMPLATE)) throw new InvalidArgumentError(`It is one of ${choices}.`);
      try {
        parseTemplate(templateText(text as Output));
      } catch (error) {
        throw new InvalidArgumentError(`${(error as Error).message}.`);
      }
      return text;
    });
  // For help and completion alone: a template has any text.
  return Object.assign(output, { argChoices: [...words, TEMPLATE] });
}

/** The text of a template; empty for any other format. */
export function templateText(output: Output): string {
  return output.startsWith(TEMPLATE) ? output.slice(TEMPLATE.length) : "";
}
