// SPDX-License-Identifier: Apache-2.0

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { JsonText } from "./json-text.ts";

const value = () => ({ args: ["sh", "-c", "true"], env: { HOME: "/" } });

test("what is parsed is handed out again, and again from the text once it is gone", async () => {
  const kept = new JsonText(value());
  expect(kept.value).toBe(kept.value);
  await Bun.sleep(0);
  Bun.gc(true);
  expect(kept.value).toEqual(value());
  expect(kept.text).toBe(JSON.stringify(value()));
  expect(JSON.stringify({ kept })).toBe(JSON.stringify({ kept: value() }));
});

test("what nobody asks for is one string each, however much there is in it", async () => {
  const many = 1000;
  const lists = () =>
    Array.from(
      { length: many },
      () =>
        new JsonText({
          list: Array(100)
            .fill({})
            .map(() => ({})),
        }),
    );
  const objects = () => heapStats().objectTypeCounts["Object"] ?? 0;
  Bun.gc(true);
  const before = objects();
  const kept = lists();
  await Bun.sleep(0);
  Bun.gc(true);
  expect(objects() - before).toBeLessThan(10 * many);
  expect(kept.at(-1)?.value).toEqual({ list: Array(100).fill({}) });
});
