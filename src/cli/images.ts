// SPDX-License-Identifier: Apache-2.0
import { openDaemon, promptly } from "./client.ts";
import { shortId, size } from "./human.ts";
import type { Context } from "./program.ts";
import { formatTable } from "./table.ts";

export async function images({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { images } = await daemon.images.listImages({}, promptly());
  if (output === "json") {
    const objects = images.map(({ id, repoTags, repoDigests, size }) => ({
      id,
      repoTags,
      repoDigests,
      sizeBytes: Number(size),
    }));
    await io.out(`${JSON.stringify(objects, null, 2)}\n`);
    return 0;
  }
  // A line for each name: an image has as many as were pulled.
  const rows = images.flatMap((image) =>
    namesOf(image).map(([repository, tag]) => [repository, tag, shortId(image.id), size(image.size)]),
  );
  await io.out(formatTable(["REPOSITORY", "TAG", "IMAGE ID", "SIZE"], rows));
  return 0;
}

function namesOf(image: { readonly repoTags: string[]; readonly repoDigests: string[] }): [string, string][] {
  if (image.repoTags.length > 0) {
    return image.repoTags.map((tag) => {
      const colon = tag.lastIndexOf(":");
      return [tag.slice(0, colon), tag.slice(colon + 1)];
    });
  }
  const repositories = new Set(image.repoDigests.map((digest) => digest.split("@")[0]!));
  return repositories.size === 0 ? [["<none>", "<none>"]] : [...repositories].map((name) => [name, "<none>"]);
}
