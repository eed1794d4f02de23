// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import type { ImageProgressSchema, ListPullsResponseSchema } from "../../gen/podrt/v1/podrt_pb.ts";
import type { PullProgress } from "../../image/pull-progress.ts";

export function imageProgress(progress: PullProgress): MessageInitShape<typeof ImageProgressSchema> {
  const { reference, phase, doneBytes, totalBytes, layersDone, layersTotal, layers } = progress;
  return {
    step: layersTotal === 0 ? phase : `${phase} ${layersDone}/${layersTotal} layers`,
    doneBytes: BigInt(doneBytes),
    totalBytes: BigInt(totalBytes),
    reference,
    phase,
    layers: layers.map((layer) => ({
      digest: layer.digest,
      state: layer.state,
      doneBytes: BigInt(layer.doneBytes),
      keptBytes: BigInt(layer.keptBytes),
      totalBytes: BigInt(layer.totalBytes),
    })),
  };
}

export function listPulls({ images }: Runtime): MessageInitShape<typeof ListPullsResponseSchema> {
  return { pulls: images.pulling().map(imageProgress) };
}
