// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { NotFoundError } from "../errors.ts";
import { enterPhase, noteSubject, runOperation } from "../lib/operation.ts";
import { timingsOf } from "./stopwatch.ts";

function operation(name: string, id: string, phases: readonly string[] = []): Promise<void> {
  return runOperation(name, async () => {
    noteSubject(id);
    for (const phase of phases) {
      enterPhase(phase);
      await Promise.resolve();
    }
  });
}

test("an object has the last operation of each name, with the time of its phases", async () => {
  await operation("StopPodSandbox", "a", ["lock"]);
  await operation("RunPodSandbox", "a", ["files", "network", "files"]);
  await operation("StopPodSandbox", "a", ["pause"]);
  const timings = timingsOf("a");
  expect(timings.map(({ operation, code }) => `${operation} ${code}`)).toEqual([
    "RunPodSandbox OK",
    "StopPodSandbox OK",
  ]);
  expect(timings.map(({ phasesMs }) => Object.keys(phasesMs))).toEqual([["files", "network"], ["pause"]]);
  for (const { durationMs, phasesMs, startedAt } of timings) {
    const sum = Object.values(phasesMs).reduce((total, ms) => total + ms, 0);
    expect(sum).toBeLessThanOrEqual(durationMs + 0.01);
    expect(Math.abs(Date.parse(startedAt) - Date.now())).toBeLessThan(3_600_000);
  }
});

test("what an operation does to others on the way is no operation of theirs, and a failure has its word", async () => {
  const stop = runOperation("StopPodSandbox", async () => {
    noteSubject("pod");
    noteSubject("container");
    throw new NotFoundError("nothing");
  });
  await stop.catch(() => {});
  expect(timingsOf("container")).toEqual([]);
  expect(timingsOf("pod")[0]?.code).toBe("NotFound");
});

test("what is removed is forgotten, and so is the oldest of too many", async () => {
  await operation("RunPodSandbox", "b");
  await operation("RemovePodSandbox", "b");
  expect(timingsOf("b")).toEqual([]);
  await operation("RunPodSandbox", "first");
  for (let index = 0; index < 4096; index++) await operation("CreateContainer", `c${index}`);
  expect(timingsOf("first")).toEqual([]);
  expect(timingsOf("c0")).toHaveLength(1);
});
