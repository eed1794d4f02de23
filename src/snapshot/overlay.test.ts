// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeSnapshotter } from "../../test/suite/snapshotter.ts";
import { openDatabase } from "../state/database.ts";
import { openTable } from "../state/table.ts";
import { openOverlaySnapshotter } from "./overlay.ts";
import type { LayerRecord, Snapshotter } from "./snapshotter.ts";

function openAt(root: string) {
  const paths = { layersDir: join(root, "layers"), containersDir: join(root, "containers") };
  const database = openDatabase(join(root, "db"));
  const open = () => openOverlaySnapshotter({ paths, layers: openTable<LayerRecord>(database, "layers") });
  const fixture = {
    snapshotter: open(),
    async reopen(): Promise<Snapshotter> {
      await fixture.snapshotter.close();
      fixture.snapshotter = open();
      return fixture.snapshotter;
    },
  };
  return fixture;
}

describeSnapshotter(openAt);

/** Waits for what a snapshotter deletes in the background when it is opened. */
async function settled(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await Bun.sleep(10);
  expect(condition()).toBe(true);
}

test("what a killed daemon left half done is deleted at the next start", async () => {
  const root = mkdtempSync(join(tmpdir(), "podrt-overlay-"));
  const fixture = openAt(root);
  try {
    const [layers, containers] = [join(root, "layers"), join(root, "containers")];
    await fixture.snapshotter.commitLayer("sha256:a", async () => ({ sizeBytes: 0, inodes: 1 }));
    await fixture.snapshotter.commitLayer("sha256:b", async () => ({ sizeBytes: 0, inodes: 1 }));
    const [directory, lost] = fixture.snapshotter.layerDirs(["sha256:a", "sha256:b"]) as [string, string];
    rmSync(lost, { recursive: true });
    mkdirSync(join(layers, ".new-77/half/layer"), { recursive: true });
    mkdirSync(join(layers, "78/renamed/but/no/row"), { recursive: true });
    mkdirSync(join(containers, ".gone-9-c1/upper"), { recursive: true });
    mkdirSync(join(containers, "c2/upper"), { recursive: true });
    writeFileSync(join(containers, "c2/snapshot.json"), "");
    // A common layer that was being made, and one that a killed daemon had made and nothing stands on.
    const common = { name: "etc", make: () => {} };
    await fixture.snapshotter.prepare("c3", ["sha256:a"], common);
    const { commonDir } = await fixture.snapshotter.prepare("c4", ["sha256:a"], common);
    for (const key of ["c3", "c4"]) await fixture.snapshotter.remove(key);
    expect(existsSync(commonDir!)).toBe(true);
    mkdirSync(join(layers, ".new-79-half/upper/etc"), { recursive: true });

    const snapshotter = await fixture.reopen();
    await settled(() => readdirSync(layers).length === 1 && readdirSync(containers).length === 1);
    expect(snapshotter.layerDirs(["sha256:a"])).toEqual([directory]);
    expect(snapshotter.hasLayer("sha256:b")).toBe(false);
    expect(snapshotter.get("c2")).toBeUndefined();
    await snapshotter.remove("c2");
    expect(existsSync(join(containers, "c2"))).toBe(false);
  } finally {
    await fixture.snapshotter.close();
    rmSync(root, { recursive: true });
  }
});

test("a common layer that could not be made is made when it has been asked for twice more", async () => {
  const root = mkdtempSync(join(tmpdir(), "podrt-overlay-"));
  const { snapshotter } = openAt(root);
  try {
    await snapshotter.commitLayer("sha256:a", async () => ({ sizeBytes: 0, inodes: 1 }));
    let attempts = 0;
    const make = () => {
      if (++attempts === 1) throw new Error("no space left");
    };
    const made: boolean[] = [];
    for (const key of ["c1", "c2", "c3", "c4"]) {
      const { commonDir } = await snapshotter.prepare(key, ["sha256:a"], { name: "etc", make });
      made.push(commonDir !== undefined);
    }
    expect(made).toEqual([false, false, false, true]);
    expect(attempts).toBe(2);
  } finally {
    await snapshotter.close();
    rmSync(root, { recursive: true });
  }
});

test("a layer whose removal cannot be made to last is a layer as before", async () => {
  const root = mkdtempSync(join(tmpdir(), "podrt-overlay-"));
  const paths = { layersDir: join(root, "layers"), containersDir: join(root, "containers") };
  let isFailing = false;
  const layers = {
    ...openTable<LayerRecord>(openDatabase(join(root, "db")), "layers"),
    sync: () => (isFailing ? Promise.reject(new Error("EIO")) : Promise.resolve()),
  };
  const snapshotter = openOverlaySnapshotter({ paths, layers });
  try {
    await snapshotter.commitLayer("sha256:a", async () => ({ sizeBytes: 0, inodes: 1 }));
    isFailing = true;
    await expect(snapshotter.removeLayer("sha256:a")).rejects.toThrow("EIO");
    expect(snapshotter.listLayers()).toEqual(["sha256:a"]);
    isFailing = false;
    await snapshotter.removeLayer("sha256:a");
    await settled(() => readdirSync(paths.layersDir).length === 0);
  } finally {
    await snapshotter.close();
    rmSync(root, { recursive: true });
  }
});
