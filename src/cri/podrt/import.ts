// SPDX-License-Identifier: Apache-2.0
import { isAbsolute } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { InvalidArgumentError } from "../../errors.ts";
import { type ImageProgress, ImageProgressSchema, type ImportRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { importImage } from "../../image/import.ts";
import { parseReference, repositoryOf } from "../../oci/reference.ts";

/** One message for each name that an image has got, or for one without a name. */
export async function* importImages(
  runtime: Runtime,
  { path, name }: ImportRequest,
  signal: AbortSignal,
): AsyncGenerator<ImageProgress> {
  if (!isAbsolute(path))
    throw new InvalidArgumentError("path", `${JSON.stringify(path)} is no absolute path`);
  // An image may have had other names before; they are not this import's.
  const repository = name === "" ? undefined : repositoryOf(parseReference(name, "name"));
  const options = { signal, ...(name === "" ? {} : { name }) };
  for (const { id, repoTags } of await importImage(runtime, path, options)) {
    const given = repoTags.filter(
      (tag) => repository === undefined || repositoryOf(parseReference(tag)) === repository,
    );
    for (const reference of given.length === 0 ? [""] : given) {
      yield create(ImageProgressSchema, { step: "imported", image: { id, reference } });
    }
  }
}
