// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { persistently } from "./persistently.ts";

test("what fails is repeated until it succeeds, and each failure is told", async () => {
  const failures: unknown[] = [];
  let calls = 0;
  const work = () => {
    calls += 1;
    if (calls < 3) throw new Error(`failure ${calls}`);
    return "done";
  };
  expect(await persistently(work, (error) => failures.push((error as Error).message))).toBe("done");
  expect(failures).toEqual(["failure 1", "failure 2"]);
});
