// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import type { RunPodResponse } from "../gen/podrt/v1/podrt_pb.ts";
import type { Daemon } from "./client.ts";
import type { Io } from "./io.ts";
import type { ManifestText } from "./manifest-file.ts";
import { askFor } from "./permission-flags.ts";

interface Request {
  readonly files: readonly ManifestText[];
  readonly allow: readonly string[];
  readonly apply?: boolean;
}

/** Has the daemon keep the pods of manifests; what they need besides what was allowed is asked for once. */
export async function runPods(daemon: Daemon, io: Io, request: Request): Promise<RunPodResponse> {
  const { files } = request;
  // A daemon that has not been updated yet takes one file, and runs it.
  const [only] = files.length === 1 ? files : [];
  const single = only === undefined ? {} : { manifest: only.text, fileName: only.name };
  const send = (allow: readonly string[]) =>
    daemon.pods.runPod({ ...single, files: [...files], allow: [...allow], apply: request.apply ?? false });
  let answer = await send(request.allow);
  if (answer.needs.length > 0) {
    answer = await send([...request.allow, ...(await askFor(answer.needs, io))]);
  }
  if (answer.needs.length > 0) {
    throw new FailedPreconditionError("the manifest asks for more than it did; look at it, and run it again");
  }
  for (const note of answer.notes) await io.err(`podrt: ${note}\n`);
  return answer;
}
