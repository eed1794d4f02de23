// SPDX-License-Identifier: Apache-2.0

import type { Runtime } from "../../container/runtime.ts";
import { UnimplementedError } from "../../errors.ts";
import type { ImageProgress, ImportRequest } from "../../gen/podrt/v1/podrt_pb.ts";

// biome-ignore lint/correctness/useYield: it refuses before there is anything to tell.
export async function* importImages(
  _runtime: Runtime,
  { path }: ImportRequest,
  _signal: AbortSignal,
): AsyncGenerator<ImageProgress> {
  throw new UnimplementedError(`importing ${path} is not supported by this version of podrt`);
}
