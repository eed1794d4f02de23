// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CgroupHost } from "./host.ts";
import { type MetLimit, outOfMemory } from "./oom.ts";

// Plain folders with the files that the kernel shows.

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-oom-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(directory: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(root, directory), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, directory, name), `${text}\n`);
}

describe("on v2", () => {
  const host = (): CgroupHost => ({
    version: "v2",
    controllers: ["memory"],
    hierarchies: [],
    unified: root,
  });
  const level = (directory: string, kills: number, total: number, own: number, limit: string) =>
    write(directory, {
      "memory.events": `max 9\noom ${total}\noom_kill ${kills}`,
      "memory.events.local": `max 9\noom ${own}\noom_kill 0`,
      "memory.max": limit,
    });

  test.each<[string, number, number, MetLimit | undefined]>([
    ["its own", 2, 0, { path: "/kube/pod/one", bytes: 4096 }],
    ["its own, though the pod's killed others", 2, 7, { path: "/kube/pod/one", bytes: 4096 }],
    ["the pod's", 0, 1, { path: "/kube/pod", bytes: 8192 }],
    ["none: the machine had no more", 0, 0, undefined],
  ])("the limit that killed is %s", (_, own, pod, limit) => {
    level("kube/pod/one", 2, own, own, "4096");
    level("kube/pod", 9, own + pod + 3, pod, "8192");
    level("kube", 9, own + pod + 3, 0, "max");
    expect(outOfMemory(host(), "/kube/pod/one")).toEqual({ kills: 2, limit });
  });

  test("one that a container gave to a part of its own cgroup is its own", () => {
    level("kube/pod/one", 1, 1, 0, "max");
    level("kube/pod", 1, 1, 0, "8192");
    const limit = { path: "/kube/pod/one", bytes: undefined };
    expect(outOfMemory(host(), "/kube/pod/one")).toEqual({ kills: 1, limit });
  });

  test("nothing is told of a cgroup in which nothing was killed, nor of one that is gone", () => {
    level("kube/pod/one", 0, 0, 0, "4096");
    expect(outOfMemory(host(), "/kube/pod/one")).toBeUndefined();
    expect(outOfMemory(host(), "/kube/pod/two")).toBeUndefined();
    expect(outOfMemory({ ...host(), controllers: [] }, "/kube/pod/one")).toBeUndefined();
  });
});

describe("on v1", () => {
  const host = (): CgroupHost => ({
    version: "v1",
    controllers: ["memory"],
    hierarchies: [{ controllers: ["memory"], mountPoint: root }],
  });
  const level = (directory: string, hits: number, swapHits: number, most = 0) =>
    write(directory, {
      "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1",
      "memory.failcnt": String(hits),
      "memory.memsw.failcnt": String(swapHits),
      "memory.limit_in_bytes": "4194304",
      "memory.memsw.limit_in_bytes": "4194304",
      "memory.memsw.max_usage_in_bytes": String(most),
    });

  test.each<[string, number, number, number, number, string | undefined]>([
    ["the container's", 3, 0, 0, 5, "/kube/pod/one"],
    ["the container's of memory and swap together", 0, 3, 0, 5, "/kube/pod/one"],
    ["the same where the kernel does not count them", 0, 0, 4_190_208, 5, "/kube/pod/one"],
    ["the pod's", 0, 0, 4_000_000, 5, "/kube/pod"],
    ["none: the machine had no more", 0, 0, 4_000_000, 0, undefined],
  ])("the limit that was met is %s", (_, own, ownSwap, most, pod, path) => {
    level("kube/pod/one", own, ownSwap, most);
    level("kube/pod", pod, 0);
    level("kube", 0, 0);
    const limit = path === undefined ? undefined : { path, bytes: 4_194_304 };
    expect(outOfMemory(host(), "/kube/pod/one")).toEqual({ kills: 1, limit });
  });

  test("a hierarchy without accounting of swap has no such files", () => {
    level("kube/pod/one", 1, 0);
    for (const name of ["failcnt", "limit_in_bytes", "max_usage_in_bytes"]) {
      rmSync(join(root, `kube/pod/one/memory.memsw.${name}`));
    }
    const limit = { path: "/kube/pod/one", bytes: 4_194_304 };
    expect(outOfMemory(host(), "/kube/pod/one")).toEqual({ kills: 1, limit });
  });
});
