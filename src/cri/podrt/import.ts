// SPDX-License-Identifier: Apache-2.0
import { isAbsolute } from "node:path";
import type { Runtime } from "../../container/runtime.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { ImageProgress, ImportRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { importImage } from "../../image/import.ts";
import type { PullProgress } from "../../image/pull-progress.ts";
import { parseReference, repositoryOf } from "../../oci/reference.ts";
import { imageProgress } from "./image-progress.ts";
import { progressStream } from "./progress.ts";

/** How it goes; then one message for each name that an image has got, or for one without a name. */
export function importImages(
  runtime: Runtime,
  { path, name }: ImportRequest,
  signal: AbortSignal,
): AsyncIterable<ImageProgress> {
  if (!isAbsolute(path))
    throw new InvalidArgumentError("path", `${JSON.stringify(path)} is no absolute path`);
  // An image may have had other names before; they are not this import's.
  const repository = name === "" ? undefined : repositoryOf(parseReference(name, "name"));
  return progressStream(async (report) => {
    const onProgress = (progress: PullProgress) => report(imageProgress(progress));
    const options = { signal, onProgress, ...(name === "" ? {} : { name }) };
    const records = await importImage(runtime, path, options);
    return records.flatMap(({ id, repoTags }) => {
      const given = repoTags.filter(
        (tag) => repository === undefined || repositoryOf(parseReference(tag)) === repository,
      );
      const references = given.length === 0 ? [""] : given;
      return references.map((reference) => ({ step: "imported", image: { id, reference } }));
    });
  });
}
