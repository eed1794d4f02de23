// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { type DebugDumpPiece, DebugDumpPieceSchema } from "../../gen/podrt/v1/podrt_pb.ts";
import { piecesOf } from "./pieces.ts";

export async function* debugDumpPieces(dump: () => Promise<string>): AsyncGenerator<DebugDumpPiece> {
  for (const text of piecesOf(await dump())) yield create(DebugDumpPieceSchema, { text });
}
