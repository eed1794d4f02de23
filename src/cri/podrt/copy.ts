// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { CopySummary } from "../../copy/copy-bounds.ts";
import { copyIn, copyOut } from "../../copy/copy-streams.ts";
import { InvalidArgumentError } from "../../errors.ts";
import {
  type CopyFromReply,
  CopyFromReplySchema,
  type CopyFromRequest,
  type CopySummarySchema,
  type CopyToRequest,
  type CopyToResponse,
  CopyToResponseSchema,
  type CopyToStart,
} from "../../gen/podrt/v1/podrt_pb.ts";
import { requireContainer } from "../lookup.ts";
import { checkNotEmpty } from "../validate-fields.ts";
import { firstMessage } from "./relay.ts";

export async function* copyFrom(
  runtime: Runtime,
  { containerId, path, followLink }: CopyFromRequest,
  signal: AbortSignal,
): AsyncGenerator<CopyFromReply> {
  checkNotEmpty("path", path);
  const record = requireContainer(runtime, containerId);
  const archive = copyOut(runtime, record, { path, followLink }, signal);
  try {
    for (;;) {
      const { value, done } = await archive.next();
      if (done) {
        yield create(CopyFromReplySchema, { message: { case: "done", value: summaryOf(value) } });
        return;
      }
      yield create(CopyFromReplySchema, { message: { case: "archive", value } });
    }
  } finally {
    await archive.return({ files: 0, bytes: 0, leftOut: 0 });
  }
}

export async function copyTo(
  runtime: Runtime,
  requests: AsyncIterable<CopyToRequest>,
  signal: AbortSignal,
): Promise<CopyToResponse> {
  const iterator = requests[Symbol.asyncIterator]();
  const { containerId, path, topName } = await firstMessage<CopyToStart, CopyToRequest>(iterator);
  checkNotEmpty("start.path", path);
  if (topName.includes("/") || topName === "..") {
    throw new InvalidArgumentError("start.top_name", `${JSON.stringify(topName)} is no name of a file`);
  }
  const record = requireContainer(runtime, containerId);
  const request = { path, topName: topName === "" ? undefined : topName };
  const done = await copyIn(runtime, record, request, archiveOf(iterator), signal);
  return create(CopyToResponseSchema, { done: summaryOf(done) });
}

async function* archiveOf(requests: AsyncIterator<CopyToRequest>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { value, done } = await requests.next();
    if (done) return;
    if (value.message.case !== "archive") {
      throw new InvalidArgumentError("archive", "is all that follows `start`");
    }
    yield value.message.value;
  }
}

function summaryOf({ files, bytes, leftOut }: CopySummary): MessageInitShape<typeof CopySummarySchema> {
  return { files: BigInt(files), bytes: BigInt(bytes), leftOut: BigInt(leftOut) };
}
