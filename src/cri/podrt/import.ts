// SPDX-License-Identifier: Apache-2.0
import { isAbsolute } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { InvalidArgumentError } from "../../errors.ts";
import { type ImageProgress, ImageProgressSchema, type ImportRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { importImage } from "../../image/import.ts";

/** One message for each image that was stored. */
export async function* importImages(
  runtime: Runtime,
  { path, name }: ImportRequest,
  signal: AbortSignal,
): AsyncGenerator<ImageProgress> {
  if (!isAbsolute(path))
    throw new InvalidArgumentError("path", `${JSON.stringify(path)} is no absolute path`);
  const options = { signal, ...(name === "" ? {} : { name }) };
  for (const { id, repoTags, repoDigests } of await importImage(runtime, path, options)) {
    const reference = repoTags[0] ?? repoDigests[0] ?? "";
    yield create(ImageProgressSchema, { step: "imported", image: { id, reference } });
  }
}
