// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { foreignProtocol, isMonitorOf, monitorArguments, PROTOCOL, protocolOf } from "./protocol.ts";

test("a monitor says its protocol on its command line; one that says nothing speaks the first", async () => {
  const protocolOfProcess = async (...words: readonly string[]) => {
    // It waits for its first argument, standard input, before it looks at the others.
    const child = Bun.spawn(["cat", "-", ...words], { argv0: "podrt-monitor", stdin: "pipe" });
    try {
      while (!readFileSync(`/proc/${child.pid}/cmdline`, "utf8").startsWith("podrt-monitor\0"))
        await Bun.sleep(1);
      return protocolOf(child.pid);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  };
  expect(await protocolOfProcess()).toBe(1);
  expect(await protocolOfProcess("protocol=7")).toBe(7);
  expect(await protocolOfProcess("other")).toBe(1);
});

test("a command line is that of a pod's monitor by name and label, whatever follows", () => {
  const line = (words: readonly string[]) => words.map((word) => `${word}\0`).join("");
  expect(isMonitorOf("abc", line(monitorArguments("abc")))).toBe(true);
  expect(isMonitorOf("abc", line(["podrt-monitor", "abc"]))).toBe(true);
  expect(isMonitorOf("ab", line(monitorArguments("abc")))).toBe(false);
  expect(isMonitorOf("abc", line(["other", "abc"]))).toBe(false);
});

test("only a protocol outside of what is spoken is foreign, with the versions and what to do", () => {
  expect(foreignProtocol(PROTOCOL)).toBeUndefined();
  expect(foreignProtocol(PROTOCOL + 1)).toMatch(
    /newer podrt and speaks protocol \d+, this one speaks .*: start/,
  );
  expect(foreignProtocol(0)).toMatch(/older podrt and speaks protocol 0/);
});
