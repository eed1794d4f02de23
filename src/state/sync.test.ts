// SPDX-License-Identifier: Apache-2.0
import { expect, spyOn, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as files from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { syncDatabase } from "./sync.ts";

test("who asks while the disk is busy shares the next sync, which begins after that", async () => {
  const root = mkdtempSync(join(tmpdir(), "podrt-sync-"));
  const path = join(root, "db");
  const steps: string[] = [];
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let syncs = 0;
  const opened = spyOn(files, "open").mockImplementation((async () => ({
    async datasync() {
      const gate = gates[syncs];
      syncs += 1;
      steps.push(`begin ${syncs}`);
      await gate?.promise;
    },
    async close() {},
  })) as never);
  try {
    const first = syncDatabase(path).then(() => steps.push("first"));
    await Bun.sleep(1);
    const others = [1, 2, 3].map((number) => syncDatabase(path).then(() => steps.push(`other ${number}`)));
    await Bun.sleep(1);
    expect(steps).toEqual(["begin 1"]);
    gates[0]!.resolve();
    await first;
    gates[1]!.resolve();
    await Promise.all(others);
    expect(steps).toEqual(["begin 1", "first", "begin 2", "other 1", "other 2", "other 3"]);
    await syncDatabase(path);
    expect(syncs).toBe(3);
  } finally {
    opened.mockRestore();
    rmSync(root, { recursive: true });
  }
});

test("a sync that fails is an error of those who share it, and of nobody after them", async () => {
  const root = mkdtempSync(join(tmpdir(), "podrt-sync-"));
  const path = join(root, "db");
  try {
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => syncDatabase(path)));
    for (const outcome of outcomes)
      expect(String((outcome as PromiseRejectedResult).reason)).toContain(
        `cannot sync the state database ${path}`,
      );
    writeFileSync(`${path}-wal`, "");
    await syncDatabase(path);
  } finally {
    rmSync(root, { recursive: true });
  }
});
