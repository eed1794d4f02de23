// SPDX-License-Identifier: Apache-2.0
import { errnoName } from "../abi/errno.ts";
import { tryRead, tryWrite, tryWriteInBackground, writeFailure } from "./files.ts";
import type { Setting } from "./resources.ts";

/**
 * Writes all of `settings` in their order, or none: at the first refusal what was there is put back. What is there
 * already is not written: of some files the kernel looks at all cgroups of the machine then.
 */
export function writeAllOrNone(settings: readonly Setting[]): void {
  const former: Setting[] = [];
  for (const { file, value } of settings) {
    const before = tryRead(file);
    if (before === value) continue;
    const errno = tryWrite(file, value);
    if (errno !== 0) {
      const failure = writeFailure(file, value, errno);
      failure.message += putBack(former);
      throw failure;
    }
    if (before !== undefined) former.push({ file, value: before });
  }
}

/** As `writeAllOrNone`, on another thread; answers what puts the former values back, as far as it can. */
export async function writeAllOrNoneInBackground(settings: readonly Setting[]): Promise<() => Promise<void>> {
  const former: Setting[] = [];
  const undo = async () => {
    for (const { file, value } of former.toReversed()) await tryWriteInBackground(file, value);
  };
  for (const { file, value } of settings) {
    const before = tryRead(file);
    if (before === value) continue;
    const errno = await tryWriteInBackground(file, value);
    if (errno !== 0) {
      await undo();
      throw writeFailure(file, value, errno);
    }
    if (before !== undefined) former.push({ file, value: before });
  }
  return undo;
}

/** What could not be put back, for the message; nothing when all is as it was. */
function putBack(former: readonly Setting[]): string {
  const lost = former.toReversed().flatMap(({ file, value }) => {
    const errno = tryWrite(file, value);
    return errno === 0 ? [] : [`${file} (${errnoName(errno)})`];
  });
  return lost.length === 0 ? "" : `; and these could not be put back: ${lost.join(", ")}`;
}
