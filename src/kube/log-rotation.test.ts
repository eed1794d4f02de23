// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rotateLog } from "./log-rotation.ts";
import { type Pod, podLogsDir } from "./pod.ts";

const pod: Pod = {
  namespace: "default",
  name: "p",
  uid: "u",
  labels: {},
  annotations: {},
  spec: { containers: [{ name: "a", image: "b" }] },
};
let home: { stateDir: string };
let directory: string;

beforeEach(() => {
  home = { stateDir: mkdtempSync(join(tmpdir(), "podrt-rotation-")) };
  directory = join(podLogsDir(home, pod), "a");
  mkdirSync(directory, { recursive: true });
});
afterEach(() => rmSync(home.stateDir, { recursive: true }));

function writeLog(bytes: number): void {
  writeFileSync(join(directory, "3.log"), "");
  truncateSync(join(directory, "3.log"), bytes);
}

const rotate = (nowMs: number, reopen: (id: string) => Promise<void>) =>
  rotateLog({ pod, home, container: { id: "c", name: "a", attempt: 3 }, nowMs, reopen });

test("a log stays until it has ten megabytes", async () => {
  writeLog(10 * 1024 * 1024 - 1);
  await rotate(0, () => Promise.reject(new Error("not asked for")));
  expect(readdirSync(directory)).toEqual(["3.log"]);
});

test("five files are kept, the newest under its own name", async () => {
  for (let day = 1; day <= 9; day++) {
    writeLog(10 * 1024 * 1024);
    await rotate(day * 86_400_000, async (id) => {
      expect(id).toBe("c");
      writeLog(0);
    });
  }
  expect(readdirSync(directory).toSorted()).toEqual([
    "3.log",
    "3.log.19700107T000000000Z",
    "3.log.19700108T000000000Z",
    "3.log.19700109T000000000Z",
    "3.log.19700110T000000000Z",
  ]);
});

test("the log of a container that ends meanwhile keeps its name", async () => {
  writeLog(10 * 1024 * 1024);
  await rotate(0, () => Promise.reject(new Error("container c is exited, not running")));
  expect(readdirSync(directory)).toEqual(["3.log"]);
});

test("a container without a log is passed over", async () => {
  await rotate(0, () => Promise.reject(new Error("not asked for")));
  expect(readdirSync(directory)).toEqual([]);
});
