// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import { readSizes } from "./terminal-sizes.ts";

async function sizesIn(...chunks: readonly string[]): Promise<string[]> {
  const sizes: string[] = [];
  const encoder = new TextEncoder();
  for await (const { width, height } of readSizes(chunks.map((chunk) => encoder.encode(chunk)))) {
    sizes.push(`${width}x${height}`);
  }
  return sizes;
}

test("sizes follow one another, with or without space, however they are cut", async () => {
  const text = '{"Width":80,"Height":24}{"Width":100,"Height":40}\n {"Height":1,"Width":2}';
  expect(await sizesIn(text)).toEqual(["80x24", "100x40", "2x1"]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(text.length)), async (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), text.length];
      const chunks = places.slice(1).map((place, index) => text.slice(places[index], place));
      expect(await sizesIn(...chunks)).toEqual(["80x24", "100x40", "2x1"]);
    }),
  );
});

test("a zero, a size beyond 16 bits and what is no size are passed over", async () => {
  const bad = [
    '{"Width":0,"Height":24}',
    '{"Width":80,"Height":0}',
    '{"Width":65536,"Height":24}',
    '{"Width":-1,"Height":24}',
    '{"Width":1.5,"Height":24}',
    '{"Width":"80","Height":24}',
    "{}",
    "x}",
    '{"Width":80',
    "null}",
  ];
  for (const text of bad) {
    expect(await sizesIn(text.endsWith("}") ? text : `${text}}`, '{"Width":80,"Height":24}')).toContain(
      "80x24",
    );
  }
  expect(await sizesIn(...bad.slice(0, 7), '{"Width":65535,"Height":1}')).toEqual(["65535x1"]);
});

test("endless text without a size is not kept", async () => {
  const noise = Array.from({ length: 1000 }, () => "x".repeat(1000));
  expect(await sizesIn(...noise, '{"Width":80,"Height":24}')).toEqual(["80x24"]);
});
