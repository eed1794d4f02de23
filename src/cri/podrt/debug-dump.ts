// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { type DebugDumpPiece, DebugDumpPieceSchema } from "../../gen/podrt/v1/podrt_pb.ts";

const PIECE_CHARACTERS = 1 << 20;

/** A document of any size, in messages that fit. */
export async function* debugDumpPieces(dump: () => Promise<string>): AsyncGenerator<DebugDumpPiece> {
  const text = await dump();
  for (let start = 0; start < text.length; start += PIECE_CHARACTERS) {
    yield create(DebugDumpPieceSchema, { text: text.slice(start, start + PIECE_CHARACTERS) });
  }
}
