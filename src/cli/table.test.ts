// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { cutTo, formatTableWithin } from "./table.ts";

test("what is cut says so, by what a terminal shows of it", () => {
  expect([cutTo("name", 4), cutTo("names", 4), cutTo("日本語", 4), cutTo("x", 0)]).toEqual([
    "name",
    "nam~",
    "日~",
    "",
  ]);
});

test("a table that is too wide loses columns from the right, then the beginnings of names", () => {
  const headings = ["NAME", "CPU %", "MEMORY"];
  const rows = [
    ["web-7d9f8c-abcde/nginx", "1.0", "16MiB"],
    ["日本", "20.0", "4MiB"],
  ];
  const lines = (room: number) => formatTableWithin(room, headings, rows).trimEnd().split("\n");
  expect(lines(39)).toEqual([
    "NAME                     CPU %   MEMORY",
    "web-7d9f8c-abcde/nginx   1.0     16MiB",
    "日本                     20.0    4MiB",
  ]);
  expect(lines(38)).toEqual([
    "NAME                    CPU %   MEMORY",
    "~b-7d9f8c-abcde/nginx   1.0     16MiB",
    "日本                    20.0    4MiB",
  ]);
  expect(lines(28)).toEqual([
    "NAME                   CPU %",
    "~-7d9f8c-abcde/nginx   1.0",
    "日本                   20.0",
  ]);
  expect(lines(6)).toEqual(["NAME", "~nginx", "日本"]);
  expect(lines(3)).toEqual(["NA~", "~nx", "~本"]);
});
