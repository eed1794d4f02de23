// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { runningContainer } from "../../container/status.ts";
import type { AttachRequest, AttachResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { StreamingServer } from "../../streaming/server.ts";
import { requireContainer } from "../lookup.ts";

/** Answers with a URL; output is passed on from when somebody has called it. */
export function attach(
  runtime: Runtime,
  streaming: StreamingServer,
  request: AttachRequest,
): MessageInitShape<typeof AttachResponseSchema> {
  const { id } = runningContainer(runtime, requireContainer(runtime, request.containerId).id);
  const { tty, stdin, stdout, stderr } = request;
  return { url: streaming.urlFor({ kind: "attach", containerId: id, tty, stdin, stdout, stderr }) };
}
