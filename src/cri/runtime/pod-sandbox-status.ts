// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { containersOf, nowNs, type Runtime } from "../../container/runtime.ts";
import { containerStatus } from "../../container/status.ts";
import type { PodSandboxStatusRequest, PodSandboxStatusResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { sandboxInfo, sandboxStatus } from "../../sandbox/status.ts";
import { verboseInfo } from "../info.ts";
import { requireSandbox } from "../lookup.ts";

export function podSandboxStatus(
  runtime: Runtime,
  request: PodSandboxStatusRequest,
): MessageInitShape<typeof PodSandboxStatusResponseSchema> {
  const record = requireSandbox(runtime, request.podSandboxId);
  const containers = containersOf(runtime, record.id).filter((container) => container.created);
  return {
    status: sandboxStatus(record),
    containersStatuses: containers.map((container) => containerStatus(container)),
    timestamp: BigInt(nowNs()),
    info: verboseInfo(request.verbose, "info", () => sandboxInfo(runtime, record)),
  };
}
