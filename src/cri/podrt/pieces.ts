// SPDX-License-Identifier: Apache-2.0

const PIECE_CHARACTERS = 1 << 20;

/** A document of any size, in parts that fit into messages. */
export function* piecesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; start += PIECE_CHARACTERS) {
    yield text.slice(start, start + PIECE_CHARACTERS);
  }
}
