// SPDX-License-Identifier: Apache-2.0
import { NotFoundError } from "../errors.ts";
import { nearMiss } from "../kube/manifest/near-miss.ts";
import { oneLine } from "../lib/foreign-text.ts";

/** Shorter names are near to too many others. */
const SHORTEST = 3;
/** Of a name that cannot be one. */
const MAX_CHARACTERS = 300;

/**
 * That there is no `what` of the name `text`: with the one of `names` that was probably meant, or else `advice`, as in
 * "`podrt pods` lists them".
 */
export function noSuch(what: string, text: string, names: Iterable<string>, advice: string): NotFoundError {
  const meant = text.length < SHORTEST ? undefined : nearMiss(text, names);
  return new NotFoundError(
    `there is no ${what} ${oneLine(text, MAX_CHARACTERS)}; ${meant === undefined ? advice : `did you mean ${meant}?`}`,
  );
}
