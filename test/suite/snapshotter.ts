// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, mock, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AlreadyExistsError, FailedPreconditionError, NotFoundError } from "../../src/errors.ts";
import type { CommonLayer, Snapshot, Snapshotter } from "../../src/snapshot/snapshotter.ts";

/** One snapshotter on a directory; `reopen` is what a restart of the daemon does. */
export interface SnapshotterFixture {
  snapshotter: Snapshotter;
  reopen(): Promise<Snapshotter>;
}

const ONE_FILE = { sizeBytes: 8192, inodes: 2 };

/** What every snapshotter must do; `open` makes one whose state lies below a directory of the test's. */
export function describeSnapshotter(open: (root: string) => SnapshotterFixture): void {
  let root: string;
  let fixture: SnapshotterFixture;
  let snapshotter: Snapshotter;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "podrt-snapshot-"));
    fixture = open(root);
    snapshotter = fixture.snapshotter;
  });

  afterEach(async () => {
    await fixture.snapshotter.close();
    rmSync(root, { recursive: true });
  });

  const commit = (chainId: string, content = chainId) =>
    snapshotter.commitLayer(chainId, async (directory) => {
      writeFileSync(join(directory, "file"), content);
      return ONE_FILE;
    });

  test("a committed layer can be stacked, top first", async () => {
    await commit("sha256:a");
    await commit("sha256:b");
    const snapshot = await snapshotter.prepare("c1", ["sha256:a", "sha256:b"]);
    expect(snapshot.lowerDirs.map((dir) => readFileSync(join(dir, "file"), "utf8"))).toEqual([
      "sha256:b",
      "sha256:a",
    ]);
    expect(readdirSync(snapshot.upperDir)).toEqual([]);
    expect(readdirSync(snapshot.workDir)).toEqual([]);
    expect(snapshotter.listLayers().sort()).toEqual(["sha256:a", "sha256:b"]);
    expect(snapshotter.layerSize("sha256:a")).toBe(ONE_FILE.sizeBytes);
    expect(snapshotter.layerDirs(["sha256:b", "sha256:a"])).toEqual([...snapshot.lowerDirs]);
  });

  test("a layer that fails to apply leaves nothing and can be tried again", async () => {
    const before = listAll(root);
    const failing = snapshotter.commitLayer("sha256:a", async (directory) => {
      mkdirSync(join(directory, "half/of/it"), { recursive: true });
      throw new Error("no more");
    });
    await expect(failing).rejects.toThrow("no more");
    await failing.catch(() => {});
    expect(snapshotter.hasLayer("sha256:a")).toBe(false);
    expect(listAll(root)).toEqual(before);
    await commit("sha256:a");
    expect(snapshotter.hasLayer("sha256:a")).toBe(true);
  });

  test("callers at the same time share one application, later ones do nothing", async () => {
    let applications = 0;
    const apply = async () => {
      applications += 1;
      await Bun.sleep(10);
      return ONE_FILE;
    };
    await Promise.all([1, 2, 3].map(() => snapshotter.commitLayer("sha256:a", apply)));
    await snapshotter.commitLayer("sha256:a", apply);
    expect(applications).toBe(1);
  });

  test("different layers are applied at the same time", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = snapshotter.commitLayer("sha256:a", async () => {
      await promise;
      return ONE_FILE;
    });
    await snapshotter.commitLayer("sha256:b", async () => {
      resolve();
      return ONE_FILE;
    });
    await first;
    expect(snapshotter.listLayers().length).toBe(2);
  });

  test("preparing a key again finds the same snapshot with what was written", async () => {
    await commit("sha256:a");
    await commit("sha256:b");
    const snapshot = await snapshotter.prepare("c1", ["sha256:a"]);
    writeFileSync(join(snapshot.upperDir, "written"), "kept");
    expect(await snapshotter.prepare("c1", ["sha256:a"])).toEqual(snapshot);
    expect(readFileSync(join(snapshot.upperDir, "written"), "utf8")).toBe("kept");
    await expect(snapshotter.prepare("c1", ["sha256:a", "sha256:b"])).rejects.toThrow(AlreadyExistsError);
  });

  test("the root of a snapshot looks like the top layer's", async () => {
    await snapshotter.commitLayer("sha256:a", async (directory) => {
      chmodSync(directory, 0o1711);
      return ONE_FILE;
    });
    const { upperDir } = await snapshotter.prepare("c1", ["sha256:a"]);
    expect(statSync(upperDir).mode & 0o7777).toBe(0o1711);
  });

  test("missing layers and unusable keys are refused by name", async () => {
    await expect(snapshotter.prepare("c1", ["sha256:missing"])).rejects.toThrow("sha256:missing");
    expect(() => snapshotter.layerSize("sha256:missing")).toThrow(NotFoundError);
    await commit("sha256:a");
    for (const key of ["", "..", ".hidden", "a/b", "../up"]) {
      await expect(snapshotter.prepare(key, ["sha256:a"])).rejects.toThrow("cannot name a snapshot");
    }
    await expect(snapshotter.prepare("c1", [])).rejects.toThrow("stands on no layer");
    await expect(snapshotter.snapshotUsage("c1")).rejects.toThrow(NotFoundError);
    expect(snapshotter.listSnapshots()).toEqual([]);
  });

  test("removing is idempotent and takes everything with it, links not followed", async () => {
    await commit("sha256:a");
    const keep = join(root, "keep");
    mkdirSync(keep);
    writeFileSync(join(keep, "file"), "kept");
    const { upperDir } = await snapshotter.prepare("c1", ["sha256:a"]);
    symlinkSync(keep, join(upperDir, "link"));
    for (let i = 0; i < 300; i++) writeFileSync(join(upperDir, `file-${i}`), "");
    await snapshotter.remove("c1");
    await snapshotter.remove("c1");
    expect(existsSync(upperDir)).toBe(false);
    expect(snapshotter.get("c1")).toBeUndefined();
    expect(readFileSync(join(keep, "file"), "utf8")).toBe("kept");
    const { freed } = await snapshotter.removeLayer("sha256:a");
    await snapshotter.removeLayer("sha256:a");
    expect(snapshotter.listLayers()).toEqual([]);
    await freed;
    expect(await snapshotter.usage()).toEqual({ usedBytes: 0, inodesUsed: 0 });
  });

  test("a layer under a snapshot cannot be removed", async () => {
    await commit("sha256:a");
    await snapshotter.prepare("c1", ["sha256:a"]);
    await expect(snapshotter.removeLayer("sha256:a")).rejects.toThrow(FailedPreconditionError);
    await snapshotter.remove("c1");
    await snapshotter.removeLayer("sha256:a");
  });

  test("a layer can be committed again while the former one is being deleted, and both are counted", async () => {
    await commit("sha256:a", "former");
    const { freed } = await snapshotter.removeLayer("sha256:a");
    expect(snapshotter.hasLayer("sha256:a")).toBe(false);
    expect(await snapshotter.usage()).toEqual({ usedBytes: 8192, inodesUsed: 2 });
    await commit("sha256:a", "new");
    await freed;
    const [directory] = snapshotter.layerDirs(["sha256:a"]);
    expect(readFileSync(join(directory!, "file"), "utf8")).toBe("new");
    expect(await snapshotter.usage()).toEqual({ usedBytes: 8192, inodesUsed: 2 });
  });

  test("usage adds up layers, and what a snapshot's owner wrote", async () => {
    await commit("sha256:a");
    await commit("sha256:b");
    expect(await snapshotter.usage()).toEqual({ usedBytes: 16_384, inodesUsed: 4 });
    const { upperDir } = await snapshotter.prepare("c1", ["sha256:a"]);
    for (let i = 0; i < 200; i++) writeFileSync(join(upperDir, `file-${i}`), new Uint8Array(4096));
    const { usedBytes, inodesUsed } = await snapshotter.snapshotUsage("c1");
    expect(inodesUsed).toBe(201);
    expect(usedBytes).toBeGreaterThanOrEqual(200 * 4096);
  });

  /** A common layer that is a directory `etc`, and how often it was made. */
  function newCommonLayer(name: string) {
    const common = {
      name,
      made: 0,
      make({ upperDir, workDir }: Pick<Snapshot, "upperDir" | "workDir">) {
        common.made += 1;
        mkdirSync(join(upperDir, "etc"));
        mkdirSync(join(workDir, "work"));
      },
    };
    return common;
  }

  /** Prepares a snapshot that is not the first to ask for the common layer. */
  async function prepareAgain(key: string, chain: readonly string[], common: CommonLayer): Promise<Snapshot> {
    await snapshotter.prepare("earlier", chain, common);
    await snapshotter.remove("earlier");
    return snapshotter.prepare(key, chain, common);
  }

  test("snapshots on the same layers share what they ask for in common, above the layers", async () => {
    for (const layer of ["sha256:a", "sha256:b"]) await commit(layer);
    await snapshotter.commitLayer("sha256:c", async (directory) => {
      chmodSync(directory, 0o1711);
      return ONE_FILE;
    });
    const before = listAll(root);
    const common = newCommonLayer("etc");
    const chain = ["sha256:a", "sha256:c"];
    const only = await snapshotter.prepare("c0", chain, common);
    expect([common.made, only.commonDir, listAll(join(root, "layers"))]).toEqual([
      ...[0, undefined, before.filter((name) => name.startsWith("layers/")).map((name) => name.slice(7))],
    ]);
    const first = await snapshotter.prepare("c1", chain, common);
    const second = await snapshotter.prepare("c2", chain, common);
    expect(common.made).toBe(1);
    expect(first.lowerDirs).toEqual([first.commonDir!, ...snapshotter.layerDirs(chain).reverse()]);
    expect(second.lowerDirs).toEqual(first.lowerDirs);
    expect(readdirSync(first.commonDir!)).toEqual(["etc"]);
    for (const { upperDir, commonDir } of [first, second]) {
      expect(readdirSync(upperDir)).toEqual([]);
      for (const top of [upperDir, commonDir!]) expect(statSync(top).mode & 0o7777).toBe(0o1711);
    }
    const other = await prepareAgain("c3", chain, newCommonLayer("other"));
    const elsewhere = await prepareAgain("c4", ["sha256:a", "sha256:b"], common);
    const plain = await snapshotter.prepare("c5", chain);
    expect(new Set([first, other, elsewhere, plain].map(({ commonDir }) => commonDir)).size).toBe(4);
    expect(plain.commonDir).toBeUndefined();
    expect(await snapshotter.usage()).toEqual({ usedBytes: 3 * 8192 + 3 * 8192, inodesUsed: 3 * 2 + 3 * 2 });
    for (const key of snapshotter.listSnapshots()) await snapshotter.remove(key);
    expect(existsSync(first.commonDir!)).toBe(true);
    const again = await snapshotter.prepare("c1", chain, common);
    expect(again.commonDir).toBe(first.commonDir);
    await snapshotter.remove("c1");
    for (const layer of ["sha256:c", "sha256:b"]) await (await snapshotter.removeLayer(layer)).freed;
    expect(listAll(root).filter((name) => before.includes(name))).toEqual(listAll(root));
    expect(await snapshotter.usage()).toEqual({ usedBytes: 8192, inodesUsed: 2 });
  });

  test("layers have sixteen common ones at most, and a snapshot does without one that cannot be made", async () => {
    await commit("sha256:a");
    const failing = { name: "failing", make: mock(() => mkdirSync("/proc/none")) };
    for (const key of ["f1", "f2", "f3"]) {
      expect((await snapshotter.prepare(key, ["sha256:a"], failing)).commonDir).toBeUndefined();
    }
    expect(failing.make).toHaveBeenCalledTimes(1);
    const has = async (name: string) => {
      const snapshot = await snapshotter.prepare("c", ["sha256:a"], newCommonLayer(name));
      await snapshotter.remove("c");
      return snapshot.commonDir !== undefined;
    };
    // Those that are asked for once take no place from others.
    for (let index = 0; index < 40; index++) expect(await has(`once ${index}`)).toBe(false);
    for (let index = 0; index < 20; index++) {
      expect([await has(`${index}`), await has(`${index}`)]).toEqual([false, index < 16]);
    }
    expect(await has("3")).toBe(true);
  });

  test("a common layer is there as long as something stands on it, and made anew where it is not", async () => {
    await commit("sha256:a");
    const common = newCommonLayer("etc");
    const first = await prepareAgain("c1", ["sha256:a"], common);
    rmSync(first.commonDir!, { recursive: true });
    const second = await snapshotter.prepare("c2", ["sha256:a"], common);
    expect(existsSync(second.commonDir!)).toBe(true);
    await snapshotter.discardLayer("sha256:a");
    await commit("sha256:a");
    const third = await prepareAgain("c3", ["sha256:a"], common);
    expect(common.made).toBe(3);
    expect(existsSync(second.commonDir!)).toBe(true);
    await snapshotter.remove("c2");
    expect(existsSync(second.commonDir!)).toBe(false);
    snapshotter = await fixture.reopen();
    expect(snapshotter.get("c3")).toEqual(third);
    const fourth = await prepareAgain("c4", ["sha256:a"], common);
    expect(common.made).toBe(4);
    expect(existsSync(third.commonDir!)).toBe(true);
    await snapshotter.remove("c3");
    expect(existsSync(third.commonDir!)).toBe(false);
    expect(existsSync(fourth.commonDir!)).toBe(true);
  });

  test("a restart keeps layers and snapshots", async () => {
    await commit("sha256:a");
    const snapshot = await snapshotter.prepare("c1", ["sha256:a"]);
    snapshotter = await fixture.reopen();
    expect(snapshotter.get("c1")).toEqual(snapshot);
    expect(snapshotter.listSnapshots()).toEqual(["c1"]);
    expect(snapshotter.hasLayer("sha256:a")).toBe(true);
    await commit("sha256:b");
    expect(new Set(snapshotter.layerDirs(["sha256:a", "sha256:b"])).size).toBe(2);
  });
}

/** Every path below a directory; times and contents aside, what was there before and after. */
function listAll(directory: string): string[] {
  return readdirSync(directory, { recursive: true }).map(String).sort();
}
