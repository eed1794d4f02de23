// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { imageUsers } from "../../src/container/image-users.ts";
import type { Runtime } from "../../src/container/runtime.ts";
import { replaceKernel } from "../../src/linux/syscall.ts";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-users-"));
  mkdirSync(join(root, "mount"));
});
afterAll(() => rmSync(root, { recursive: true }));

/** A layer unpacked in the directory `name`. */
function layer(name: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(root, name, "etc"), { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(root, name, "etc", file), text);
}

const image = (chainId: string) => ({ layers: [{ chainId }] }) as unknown as Parameters<typeof imageUsers>[1];

/** Asks for the users of an image whose only layer is in the directory `name`; how often a file was opened for it. */
function asked(name: string, chainId: string) {
  const runtime = {
    snapshotter: { layerDirs: () => [join(root, name)] },
    paths: { rootMountPoint: join(root, "mount") },
  } as unknown as Runtime;
  let opened = 0;
  const restore = replaceKernel((real) => ({
    call(call, args) {
      if (call === "openat2") opened++;
      return real.call(call, args);
    },
  }));
  try {
    return { database: imageUsers(runtime, image(chainId)), opened };
  } finally {
    restore();
  }
}

test("the users of an image are read once, and again when its layer was unpacked anew", () => {
  layer("damaged", { passwd: "ro" });
  layer("mended", { passwd: "app:x:7:8::/srv:/bin/sh", group: "staff:x:50:app" });
  expect(asked("damaged", "c").database).toEqual({ users: [], groups: [] });
  expect(asked("damaged", "c").opened).toBe(0);
  const mended = {
    users: [{ name: "app", uid: 7, gid: 8, home: "/srv" }],
    groups: [{ name: "staff", gid: 50, members: ["app"] }],
  };
  expect(asked("mended", "c")).toEqual({ database: mended, opened: expect.any(Number) });
  expect(asked("mended", "c")).toEqual({ database: mended, opened: 0 });
});

test("a group with very many members is read each time, since it would take much memory", () => {
  layer("crowd", { group: `crowd:x:9:${Array.from({ length: 10_000 }, (_, index) => `u${index}`).join()}` });
  expect(asked("crowd", "d").database.groups[0]!.members).toHaveLength(10_000);
  expect(asked("crowd", "d").opened).toBeGreaterThan(0);
});
