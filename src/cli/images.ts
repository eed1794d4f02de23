// SPDX-License-Identifier: Apache-2.0
import type { Image } from "../gen/runtime/v1/api_pb.ts";
import { openDaemon, promptly } from "./client.ts";
import { shortId, size } from "./human.ts";
import { type Listing, printRows } from "./output/print.ts";
import type { Context } from "./program.ts";

export async function images({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { images } = await daemon.images.listImages({}, promptly());
  // For a person a line for each name: an image has as many as were pulled. For a program an object for each image.
  const isByName = ["table", "wide", "name"].includes(output);
  const rows = images.flatMap((image) =>
    (isByName ? namesOf(image) : [["", ""] as const]).map(([repository, tag]) => ({
      image,
      repository,
      tag,
    })),
  );
  await printRows({ io, output }, rows, LISTING);
  return 0;
}

interface Row {
  readonly image: Image;
  readonly repository: string;
  readonly tag: string;
}

const NONE = "<none>";

const LISTING: Listing<Row> = {
  columns: [
    { heading: "REPOSITORY", cell: ({ repository }) => repository },
    { heading: "TAG", cell: ({ tag }) => tag },
    { heading: "IMAGE ID", cell: ({ image }, { isWide }) => (isWide ? image.id : shortId(image.id)) },
    { heading: "SIZE", cell: ({ image }) => size(image.size) },
    { heading: "DIGESTS", cell: ({ image }) => image.repoDigests.join(",") || "-", wide: true },
  ],
  object: ({ image: { id, repoTags, repoDigests, size } }) => ({
    id,
    repoTags,
    repoDigests,
    sizeBytes: Number(size),
  }),
  name: ({ image, repository, tag }) => (tag === NONE ? image.id : `${repository}:${tag}`),
};

function namesOf(image: { readonly repoTags: string[]; readonly repoDigests: string[] }): [string, string][] {
  if (image.repoTags.length > 0) {
    return image.repoTags.map((tag) => {
      const colon = tag.lastIndexOf(":");
      return [tag.slice(0, colon), tag.slice(colon + 1)];
    });
  }
  const repositories = new Set(image.repoDigests.map((digest) => digest.split("@")[0]!));
  return repositories.size === 0 ? [[NONE, NONE]] : [...repositories].map((name) => [name, NONE]);
}
