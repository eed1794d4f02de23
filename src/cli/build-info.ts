// SPDX-License-Identifier: Apache-2.0

/** What scripts/build-binary.sh puts in the place of PODRT_BUILD. */
interface BuiltFrom {
  /** The whole hash, with `-dirty` after it where files that git knows were changed; null outside of a clone. */
  readonly commit: string | null;
  /** Seconds since 1970 at which the commit was made, or SOURCE_DATE_EPOCH; null where neither is known. */
  readonly time: number | null;
}

declare const PODRT_BUILD: BuiltFrom | undefined;

/** From what and with what this program was built; run from its sources it has neither commit nor date. */
export interface BuildInfo {
  readonly commit: string | null;
  readonly build: {
    /** Of the commit, as `2026-01-31T12:00:00Z`: builds of one commit are the same. */
    readonly date: string | null;
    readonly bun: string;
    readonly os: string;
    /** As Go spells it. */
    readonly architecture: string;
  };
}

export function buildInfo(platform: { readonly os: string; readonly architecture: string }): BuildInfo {
  const { commit, time } = typeof PODRT_BUILD === "undefined" ? { commit: null, time: null } : PODRT_BUILD;
  const date = time === null ? null : new Date(time * 1000).toISOString().replace(".000Z", "Z");
  return { commit, build: { date, bun: Bun.version, ...platform } };
}
