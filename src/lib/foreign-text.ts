// SPDX-License-Identifier: Apache-2.0

/*
 * Words of images, registries, plugins and programs in messages: whoever wrote them may mean harm to the terminal or the
 * log that shows them. They are cut, and what is not printed, which includes changes of direction, is a question mark.
 */

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** At most `limitCharacters` of the text, fit to be printed. */
export function printable(text: string, limitCharacters: number): string {
  return text.slice(0, limitCharacters).replace(UNPRINTABLE, "?");
}

/** The same as one line without blanks around it; what is cut off is shown by dots. */
export function oneLine(text: string, limitCharacters: number): string {
  const line = text.trim().replace(/\s+/g, " ");
  return printable(line, limitCharacters) + (line.length > limitCharacters ? "..." : "");
}

/** The same in double quotes, as a literal of JSON. */
export function quoted(text: string, limitCharacters: number): string {
  const shown = text.length > limitCharacters ? `${text.slice(0, limitCharacters)}...` : text;
  return JSON.stringify(shown).replace(UNPRINTABLE, "?");
}
