// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { cutTo, formatTableWithin, wrapLast } from "./table.ts";

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

test("a last column of text goes on below itself, between words, where it has some room", () => {
  const headings = ["CHECK", "FOUND"];
  const rows = [
    ["kernel", "\u001b[31mLinux has what\u001b[39m podrt needs of it"],
    ["disk", "full"],
  ];
  expect(wrapLast(33, headings, rows)).toEqual([
    ["kernel", "\u001b[31mLinux has what\u001b[39m podrt"],
    ["", "needs of it"],
    ["disk", "full"],
  ]);
  expect(wrapLast(33, headings, rows, (text) => text.includes("Linux"))).toEqual(rows);
  // A pipe has no width, and a terminal may be too narrow for columns.
  expect(wrapLast(undefined, headings, rows)).toEqual(rows);
  expect(wrapLast(32, headings, rows)).toEqual(rows);
});
