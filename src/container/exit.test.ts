// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import type { Monitor } from "../launch/monitor.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { releaseStdio } from "./exit.ts";
import type { Runtime } from "./runtime.ts";

/** What follows the release of stdio, like the removal of the cgroup, must come whatever becomes of that. */
test("the end of a container goes on where its monitor cannot be looked at", async () => {
  for (const [failures, looks, warnings] of [
    [1, 2, 0],
    [9, 2, 1],
  ] as const) {
    let looked = 0;
    const warned: unknown[] = [];
    const isAlive = () => {
      looked += 1;
      if (looked <= failures) throw new Error("EIO");
      return false;
    };
    const runtime = { log: { warn: (fields: object) => warned.push(fields) } } as unknown as Runtime;
    await releaseStdio(runtime, { isAlive } as Monitor, { id: "c" } as ContainerRecord);
    expect([looked, warned.length]).toEqual([looks, warnings]);
  }
});
