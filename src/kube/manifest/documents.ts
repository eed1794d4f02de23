// SPDX-License-Identifier: Apache-2.0
import { type Document, type LineCounter, parseAllDocuments } from "yaml";
import { messageOf } from "../../errors.ts";
import type { Problems } from "./problems.ts";
import { TAB_WORDS, tabNear, yamlWords } from "./yaml-words.ts";

const MAX_BYTES = 1024 * 1024;
const MAX_DOCUMENTS = 100;

/** The documents of a text in YAML 1.2, which must be free of mistakes of that; none where it is not. */
export function parseDocuments(
  text: string,
  lineCounter: LineCounter,
  problems: Problems,
): Document.Parsed[] {
  if (Buffer.byteLength(text) > MAX_BYTES) {
    problems.addWhole(`is larger than ${MAX_BYTES / 1024} KiB`);
    return [];
  }
  let documents: Document.Parsed[];
  try {
    // Keys given twice are found by the reader, whose check is not quadratic.
    const options = { lineCounter, uniqueKeys: false, prettyErrors: false, logLevel: "silent" } as const;
    documents = [...parseAllDocuments(text, options)];
  } catch (error) {
    const isTooDeep = error instanceof RangeError;
    problems.addWhole(isTooDeep ? "is nested too deeply" : `cannot be read: ${messageOf(error)}`);
    return [];
  }
  if (documents.length > MAX_DOCUMENTS) {
    problems.addWhole(`has more than ${MAX_DOCUMENTS} documents`);
    return [];
  }
  for (const document of documents) {
    // What follows the first mistake of a document mostly follows from it.
    const [first] = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0]);
    if (first === undefined) continue;
    const tab = tabNear(text, first.pos[0]);
    if (tab === undefined) problems.add(first.pos[0], "", yamlWords(first, text));
    else problems.add(tab, "", TAB_WORDS);
  }
  return problems.count() > 0 ? [] : documents;
}
