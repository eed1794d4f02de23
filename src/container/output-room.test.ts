// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { newOutputRoom } from "./output-room.ts";

const MIB = 1024 * 1024;
const WHOLE = 16 * MIB - 64 * 1024;

test("one command's output is cut at what a reply may hold", () => {
  using room = newOutputRoom();
  expect(room.take(10 * MIB)).toBe(10 * MIB);
  expect(room.take(10 * MIB)).toBe(WHOLE - 10 * MIB);
  expect(room.take(1)).toBe(0);
});

test("together they have a bound; who goes beyond it is refused for good, and makes room for the others", () => {
  using first = newOutputRoom();
  using second = newOutputRoom();
  using third = newOutputRoom();
  using fourth = newOutputRoom();
  using fifth = newOutputRoom();
  for (const room of [first, second, third, fourth]) expect(room.take(WHOLE - MIB)).toBe(WHOLE - MIB);
  expect(fifth.take(4 * MIB)).toBe(4 * MIB);
  expect(() => fifth.take(MIB)).toThrow("run fewer with much output at a time");
  expect(() => fifth.take(1)).toThrow("run fewer");
  for (const room of [first, second, third, fourth]) expect(room.take(MIB)).toBe(MIB);
});

test("little output always has room", () => {
  const rooms = Array.from({ length: 5 }, newOutputRoom);
  try {
    expect(() => {
      for (const room of rooms) room.take(WHOLE);
    }).toThrow("run fewer");
    for (let count = 0; count < 1000; count++) {
      using small = newOutputRoom();
      expect(small.take(64 * 1024)).toBe(64 * 1024);
    }
  } finally {
    for (const room of rooms) room[Symbol.dispose]();
  }
});

test("what is disposed of, once or twice, makes room for as much again", () => {
  for (let count = 0; count < 20; count++) {
    using room = newOutputRoom();
    expect(room.take(WHOLE)).toBe(WHOLE);
    room[Symbol.dispose]();
  }
});
