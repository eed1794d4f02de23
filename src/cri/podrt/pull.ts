// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { ImageProgress, PullRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { imageProgress } from "./image-progress.ts";
import { progressStream } from "./progress.ts";

export function pullWithProgress(
  runtime: Runtime,
  { reference }: PullRequest,
  signal: AbortSignal,
): AsyncIterable<ImageProgress> {
  return progressStream(async (report) => {
    const image = await runtime.images.pull(reference, {
      signal,
      onProgress: (progress) => report(imageProgress(progress)),
    });
    return [
      { step: "pulled", image: { id: image.id, reference: formatReference(parseReference(reference)) } },
    ];
  });
}
