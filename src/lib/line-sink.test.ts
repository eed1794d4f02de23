// SPDX-License-Identifier: Apache-2.0
import { expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newLineSink } from "./line-sink.ts";

test("a line that finds no room is given up, and nobody is told by an exception", () => {
  const fd = openSync("/dev/full", "w");
  try {
    expect(() => newLineSink(fd).write("a line\n")).not.toThrow();
  } finally {
    closeSync(fd);
  }
});

test("a line that was torn is ended before the next one, which is whole", () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-sink-"));
  const file = join(directory, "log");
  const fd = openSync(file, "w");
  const { writeSync } = fs;
  const tearing = spyOn(fs, "writeSync");
  try {
    const sink = newLineSink(fd);
    sink.write("one\n");
    tearing.mockImplementationOnce(((to: number, bytes: Buffer) => writeSync(to, bytes, 0, 2)) as never);
    tearing.mockImplementationOnce(() => {
      throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    });
    sink.write("two\n");
    sink.write("three\n");
    sink.write("four\n");
    expect(readFileSync(file, "utf8")).toBe("one\ntw\nthree\nfour\n");
  } finally {
    tearing.mockRestore();
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
});
