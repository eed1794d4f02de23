// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type ImageProgress, ImageProgressSchema } from "../../gen/podrt/v1/podrt_pb.ts";

type Progress = MessageInitShape<typeof ImageProgressSchema>;

/**
 * Streams what `work` reports and then what it returns. A caller that reads slowly gets the newest
 * report and misses those between, so nothing queues up.
 */
export async function* progressStream(
  work: (report: (progress: Progress) => void) => Promise<readonly Progress[]>,
): AsyncGenerator<ImageProgress> {
  let latest: Progress | undefined;
  let wake = Promise.withResolvers<void>();
  let isDone = false;
  const finished = work((progress) => {
    latest = progress;
    wake.resolve();
  }).finally(() => {
    isDone = true;
    wake.resolve();
  });
  // Awaited below; this keeps a failure before that from being reported as nobody's.
  finished.catch(() => {});
  while (!isDone) {
    await wake.promise;
    wake = Promise.withResolvers();
    if (latest === undefined) continue;
    const progress = latest;
    latest = undefined;
    yield create(ImageProgressSchema, progress);
  }
  for (const result of await finished) yield create(ImageProgressSchema, result);
}
