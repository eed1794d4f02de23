// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import type { Runtime } from "../container/runtime.ts";
import { JsonText } from "../lib/json-text.ts";
import { identify } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { openLiveRoot, openRoot } from "./container-root.ts";

const runtimeOf = (runtimeHandler: string) =>
  ({ sandboxes: { get: () => ({ runtimeHandler }) } }) as unknown as Runtime;
const self = identify(process.pid)!;
const recordOf = (more: object) =>
  ({
    id: "c",
    sandboxId: "s",
    runtimeSpec: new JsonText({ linux: {} }),
    ...more,
  }) as unknown as ContainerRecord;
const running = { startedAtNs: "1", process: self };

test("a running container's root is that of its first process", () => {
  using root = openLiveRoot(runtimeOf(""), recordOf(running));
  expect(readlinkSync(`/proc/self/fd/${root.fd.number}`)).toBe("/");
  expect(root.mappings).toBeUndefined();
});

test("another process that has got the number is not taken for it", () => {
  const other = { ...running, process: { ...self, startTicks: "1" } };
  expect(() => openLiveRoot(runtimeOf(""), recordOf(other))).toThrow("container c has just ended");
  const gone = { ...running, process: { pid: 2 ** 22 - 1, startTicks: "1" } };
  expect(() => openLiveRoot(runtimeOf(""), recordOf(gone))).toThrow("container c has just ended");
});

test("what does not run is not written to, what was never started has nothing, and OCI runtimes are refused", () => {
  const ended = recordOf({ startedAtNs: "1", finishedAtNs: "2" });
  expect(() => openLiveRoot(runtimeOf(""), ended)).toThrow("container c is exited, not running");
  expect(() => openRoot(runtimeOf(""), recordOf({}))).toThrow("was not started yet");
  expect(() => openLiveRoot(runtimeOf("runsc"), recordOf(running))).toThrow("made by an OCI runtime");
});
