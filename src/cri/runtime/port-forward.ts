// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { FailedPreconditionError } from "../../errors.ts";
import type { PortForwardRequest, PortForwardResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { isReady } from "../../state/sandboxes.ts";
import type { StreamingServer } from "../../streaming/server.ts";
import { requireSandbox } from "../lookup.ts";

/** Answers with a URL; clients name a port with each connection, and the request's need not be any. */
export function portForward(
  runtime: Runtime,
  streaming: StreamingServer,
  request: PortForwardRequest,
): MessageInitShape<typeof PortForwardResponseSchema> {
  const record = requireSandbox(runtime, request.podSandboxId);
  if (!isReady(record)) throw new FailedPreconditionError(`pod sandbox ${record.id} is not ready`);
  return { url: streaming.urlFor({ kind: "portforward", sandboxId: record.id, ports: request.port }) };
}
