// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { execSync as exec } from "../../container/exec-sync.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { ExecSyncRequest, ExecSyncResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { requireContainer } from "../lookup.ts";
import { timeoutMs } from "../timeout.ts";

/** A timeout of 0 means none; the caller giving up ends the process too. */
export async function execSync(
  runtime: Runtime,
  request: ExecSyncRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ExecSyncResponseSchema>> {
  const { id } = requireContainer(runtime, request.containerId);
  return await exec(runtime, id, { command: request.cmd, timeoutMs: timeoutMs(request.timeout) }, signal);
}
