// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { runningContainer } from "../../container/status.ts";
import type { ExecRequest, ExecResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { StreamingServer } from "../../streaming/server.ts";
import { requireContainer } from "../lookup.ts";

/** Answers with a URL; the command is launched once somebody has called it and opened the streams. */
export function exec(
  runtime: Runtime,
  streaming: StreamingServer,
  request: ExecRequest,
): MessageInitShape<typeof ExecResponseSchema> {
  const { id } = runningContainer(runtime, requireContainer(runtime, request.containerId).id);
  const { cmd: command, tty, stdin, stdout, stderr } = request;
  return { url: streaming.urlFor({ kind: "exec", containerId: id, command, tty, stdin, stdout, stderr }) };
}
