// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";

const fixture = useDaemon();
const podrt = (...words: string[]) => fixture.daemon.podrt(words[0]!, ...words.slice(1));

interface Row {
  readonly kind: string;
  readonly count: number;
  readonly inUse: number;
  readonly sizeBytes: number;
  readonly reclaimableBytes: number;
}

async function usage(): Promise<Readonly<Record<string, Row>>> {
  const { code, stdout, stderr } = await podrt("df", "-o", "json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const rows = JSON.parse(stdout) as Row[];
  return Object.fromEntries(rows.map((row) => [row.kind, row]));
}

async function garbage(...options: string[]): Promise<string[]> {
  const { code, stdout } = await podrt("gc", "--dry-run", "-o", "json", ...options);
  expect(code).toBe(0);
  const items = JSON.parse(stdout) as { kind: string; name: string; freedBytes: number }[];
  expect(items.every(({ freedBytes }) => freedBytes > 0)).toBe(true);
  return items.map(({ kind, name }) => `${kind} ${name}`);
}

const stateDir = (name: string) => join(fixture.daemon.root, "lib", name);

test("df adds up what is there, and gc removes what nobody needs and nothing else", async () => {
  const before = await usage();
  const write = "head -c 3000000 /dev/zero > /written; head -c 2000000 /dev/zero > /data/kept; echo said";
  const ran = await podrt("run", "--name", "over", "-v", "kept:/data", "busybox", "sh", "-c", write);
  expect(ran.code).toBe(0);
  expect((await podrt("pull", "nginx")).code).toBe(0);
  expect((await podrt("run", "-d", "--name", "stays", "busybox", "sleep", "3600")).code).toBe(0);
  await runningPod(fixture.daemon, "stays");
  // What a pull that was interrupted leaves.
  mkdirSync(stateDir("partial"), { recursive: true });
  writeFileSync(join(stateDir("partial"), `sha256-${"0".repeat(64)}`), Buffer.alloc(2_000_000));
  const full = await usage();
  expect(full["images"]!.count).toBe(before["images"]!.count + 2);
  expect(full["images"]!.reclaimableBytes).toBeGreaterThan(1000);
  expect(full["layers"]!.reclaimableBytes).toBeGreaterThan(full["images"]!.reclaimableBytes);
  expect(full["containers"]).toMatchObject({ count: 2, inUse: 1 });
  expect(full["containers"]!.reclaimableBytes).toBeGreaterThanOrEqual(3_000_000);
  expect(full["containers"]!.sizeBytes).toBeGreaterThanOrEqual(full["containers"]!.reclaimableBytes);
  expect(full["volumes"]).toMatchObject({ count: 1, inUse: 0 });
  expect(full["volumes"]!.reclaimableBytes).toBeGreaterThanOrEqual(2_000_000);
  expect(full["logs"]).toMatchObject({ count: 2, inUse: 1 });
  expect(full["logs"]!.sizeBytes).toBeGreaterThan(full["logs"]!.reclaimableBytes);
  expect(full["downloads"]!.reclaimableBytes).toBeGreaterThanOrEqual(2_000_000);
  expect(full["database"]!.sizeBytes).toBeGreaterThan(0);

  const plain = ["image docker.io/library/nginx:latest", "download 1 of interrupted pulls"];
  // Who has just pulled an image may be about to use it.
  expect(await garbage()).toEqual(plain.slice(1));
  const young = await podrt("gc", "--dry-run");
  expect(young.stderr).toContain("1 image that nobody uses stays, since it was pulled or asked for just now");
  expect(await garbage("--min-age", "0")).toEqual(plain);
  expect(await garbage("--pods", "--volumes", "--min-age", "0")).toEqual([
    "pod default/over",
    ...plain,
    "volume default/kept",
  ]);
  const layers = readdirSync(stateDir("layers")).length;
  const { items } = await fixture.daemon.pods.listReclaimable({});
  // It became young after it was listed.
  for await (const { error } of fixture.daemon.pods.reclaim({ items: [items[0]!], minAgeMs: 120_000n })) {
    expect(error).toBe("image docker.io/library/nginx:latest was asked for just now");
  }
  const freed = await podrt("gc", "--yes", "--min-age", "0");
  expect(freed.code).toBe(0);
  expect(freed.stdout).toMatch(
    /^image docker.io\/library\/nginx:latest [\d.]+[kM]B\ndownload 1 of interrupted pulls 2(\.\d+)?MB\n$/,
  );
  expect(freed.stderr).toMatch(/^freed [\d.]+MB\n$/);
  expect(readdirSync(stateDir("layers")).length).toBeLessThan(layers);
  expect(readdirSync(stateDir("partial"))).toEqual([]);
  const after = await usage();
  expect([after["images"]!.reclaimableBytes, after["layers"]!.reclaimableBytes]).toEqual([0, 0]);
  expect(after["layers"]!.sizeBytes).toBe(full["layers"]!.sizeBytes - full["layers"]!.reclaimableBytes);
  expect(await garbage("--min-age", "0")).toEqual([]);

  expect((await podrt("gc", "--yes", "--pods", "--volumes")).stdout).toMatch(
    /^pod default\/over .*\nvolume default\/kept .*\n$/,
  );
  expect(existsSync(stateDir("claims/default/kept"))).toBe(false);
  const { stdout } = await podrt("pods", "-o", "name");
  expect(stdout).toBe("stays\n");
  expect((await podrt("exec", "stays", "--", "echo", "well")).stdout).toBe("well\n");
  expect((await podrt("rm", "-f", "stays")).code).toBe(0);
});

// Needs tmux, to be a person at a terminal.
test.skipIf(!hasTmux)("gc asks on a terminal", async () => {
  expect((await podrt("pull", "busybox")).code).toBe(0);
  await using screen = await openTmux();
  await screen.type(`${binary} gc --min-age 0 --root ${fixture.daemon.root}; echo ended $?`);
  const shown = await screen.until("the question", (rows) => rows.some((row) => row.includes("[y/N]")));
  expect(shown.some((row) => /^image +docker.io\/library\/busybox:latest +\d/.test(row))).toBe(true);
  await screen.type("no");
  await screen.until("that nothing went", (rows) => rows.some((row) => row.endsWith("ended 1")));
  await screen.type(`clear; ${binary} gc --min-age 0 --root ${fixture.daemon.root}; echo ended $?`);
  await screen.until("the question again", (rows) => rows.some((row) => row.includes("[y/N]")));
  await screen.type("y");
  await screen.until("what went", (rows) => rows.some((row) => row.endsWith("ended 0")));
  expect((await podrt("images", "-o", "name")).stdout).not.toContain("busybox");
});
