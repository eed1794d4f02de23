// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { containerInfo, containerStatus as statusOf } from "../../container/status.ts";
import type { ContainerStatusRequest, ContainerStatusResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { verboseInfo } from "../info.ts";
import { requireContainer } from "../lookup.ts";

export function containerStatus(
  runtime: Runtime,
  request: ContainerStatusRequest,
): MessageInitShape<typeof ContainerStatusResponseSchema> {
  const record = requireContainer(runtime, request.containerId);
  return {
    status: statusOf(record),
    info: verboseInfo(request.verbose, "info", () => containerInfo(runtime, record)),
  };
}
