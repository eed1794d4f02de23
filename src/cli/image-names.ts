// SPDX-License-Identifier: Apache-2.0

/** An image's names as they are stored and as one types them: names without a registry are looked for at docker.io. */
export function imageNames({ repoTags }: { readonly repoTags: readonly string[] }): string[] {
  return repoTags.flatMap((tag) => {
    const short = tag.replace(/^docker\.io\/(library\/)?/, "").replace(/:latest$/, "");
    return short === tag ? [tag] : [short, tag];
  });
}
