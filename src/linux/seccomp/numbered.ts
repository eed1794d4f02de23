// SPDX-License-Identifier: Apache-2.0

/** Names in the order of their numbers, from `first` on; a number among them is that of the name that follows. */
export function numbered(names: string, first: number): [string, number][] {
  let next = first;
  const table: [string, number][] = [];
  for (const word of names.trim().split(/\s+/)) {
    if (/^[0-9]+$/.test(word)) next = Number(word);
    else table.push([word, next++]);
  }
  return table;
}
