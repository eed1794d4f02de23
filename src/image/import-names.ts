// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { formatReference, parseReference, repositoryOf } from "../oci/reference.ts";

/** What an archive says an image is called. */
export interface StatedNames {
  /** Whole references. */
  readonly references: readonly string[];
  /** A tag without a repository, as OCI layouts often have it. */
  readonly tag?: string | undefined;
}

/**
 * The references under which the images of one archive are recorded, in its order.
 *
 * `name`, what the user asked for, decides: with a tag or digest it names the only image; without, it is
 * the repository of all, and each keeps its own tag. InvalidArgumentError says when a name is missing.
 */
export function chooseNames(images: readonly StatedNames[], name: string | undefined): string[][] {
  if (name === undefined) return images.map(statedNames);
  const reference = parseReference(name, "name");
  const isWhole = name.includes("@") || name.slice(name.lastIndexOf("/") + 1).includes(":");
  if (isWhole && images.length > 1) {
    throw new InvalidArgumentError(
      "",
      `--name ${name} names one image, but there are ${images.length} in it: leave out the tag, or --name`,
    );
  }
  if (reference.digest !== undefined) {
    throw new InvalidArgumentError("", `--name ${name} is a digest: give a name and a tag instead`);
  }
  const names = images.map(({ references, tag }) => {
    const own = tag ?? (references[0] === undefined ? undefined : parseReference(references[0]).tag);
    return isWhole || own === undefined ? formatReference(reference) : `${repositoryOf(reference)}:${own}`;
  });
  if (new Set(names).size < names.length) {
    throw new InvalidArgumentError("", `--name ${name} would name several of its images alike: leave it out`);
  }
  return names.map((chosen) => [chosen]);
}

function statedNames({ references, tag }: StatedNames): string[] {
  if (references.length > 0)
    return references.map((text) => formatReference(parseReference(text, "its name")));
  const stated = tag === undefined ? "no name" : `only the tag ${JSON.stringify(tag)}`;
  throw new InvalidArgumentError(
    "",
    `it has ${stated} for an image where a reference as in docker.io/library/nginx:1 is needed: give one with --name`,
  );
}
