// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { Cleanup } from "./cleanup.ts";

/** Runs undos that fail so often, each told by its name; answers what happened. */
async function undo(failures: Readonly<Record<string, number>>, isReleased = false): Promise<string[]> {
  const heard: string[] = [];
  {
    await using cleanup = new Cleanup((step, error) => heard.push(`gave up ${step}: ${error}`));
    for (const [name, count] of Object.entries(failures)) {
      let left = count;
      cleanup.add(name, async () => {
        heard.push(name);
        if (left-- > 0) throw "no memory";
      });
    }
    if (isReleased) cleanup.release();
  }
  return heard;
}

test("undos run last first, and not at all once the work is released", async () => {
  expect(await undo({ first: 0, second: 0 })).toEqual(["second", "first"]);
  expect(await undo({ first: 0, second: 0 }, true)).toEqual([]);
});

test("an undo that fails is tried once more, and after that the others go on", async () => {
  expect(await undo({ first: 0, second: 1 })).toEqual(["second", "second", "first"]);
  expect(await undo({ first: 0, second: 2 })).toEqual([
    "second",
    "second",
    "gave up second: no memory",
    "first",
  ]);
});
