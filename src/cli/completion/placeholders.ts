// SPDX-License-Identifier: Apache-2.0

/** What can be completed: with the daemon's names, with files; a place is a container, a colon and a path in it. */
export type Kind = "pod" | "container" | "image" | "volume" | "file" | "directory" | "place";

/** What a word in a usage stands for, as in `<pod | container...>`; words that are not here are not completed. */
export const KINDS: Readonly<Record<string, Kind | undefined>> = {
  pod: "pod",
  pods: "pod",
  container: "container",
  containers: "container",
  image: "image",
  images: "image",
  reference: "image",
  volume: "volume",
  volumes: "volume",
  file: "file",
  files: "file",
  path: "file",
  paths: "file",
  manifest: "file",
  manifests: "file",
  "container:path": "place",
  dir: "directory",
  directory: "directory",
};

/**
 * What each of several ways to write a command has at an operand's place, as lists of alternatives:
 * `podrt run [options] <image> [command...]` has `[["image"]]` at 0 and `[["command"]]` from 1 on.
 */
export function placeholdersOf(usages: readonly string[], position: number): string[][] {
  return usages.flatMap((usage) => {
    const places = [...usage.matchAll(/<([^>]+)>|\[([^\]]+)\]/g)]
      .map((match) => (match[1] ?? match[2])!)
      .filter((place) => place !== "options");
    const last = places.at(-1);
    const place = places[position] ?? (last?.endsWith("...") ? last : undefined);
    return place === undefined
      ? []
      : [
          place
            .replace(/\.\.\.$/, "")
            .split("|")
            .map((word) => word.trim()),
        ];
  });
}

/** The words of placeholders without what one may add to them: `path` of `path[:ro]`, `port` of `port...`. */
export function wordsIn(placeholders: readonly (readonly string[])[]): string[] {
  return placeholders.flat().flatMap((word) => /^[a-z]+(?::[a-z]+)?(?=$|\[|\.)/.exec(word)?.[0] ?? []);
}
