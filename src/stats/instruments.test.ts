// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { statsRuntime } from "../../test/fixtures/stats-runtime.ts";
import { eventually } from "../../test/integration/harness/eventually.ts";
import { type Instruments, openInstruments } from "./instruments.ts";
import { Patience } from "./writable-layers.ts";

let root: string;
let fixture: ReturnType<typeof statsRuntime>;
let instruments: Instruments;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-instruments-"));
  fixture = statsRuntime({ version: "v2", controllers: [], hierarchies: [], unified: root }, root);
  instruments = openInstruments(fixture.runtime);
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

async function lookAt(start: string): Promise<string> {
  const sandbox = fixture.addSandbox(start, `/${start}`);
  const container = fixture.addContainer(start, sandbox);
  mkdirSync(join(root, start, start), { recursive: true });
  writeFileSync(join(root, start, start, "cgroup.procs"), `${process.pid}\n`);
  writeFileSync(join(root, start, start, "cpu.stat"), "usage_usec 1\n");
  instruments.cgroups.sample(container.id, container.cgroupPath);
  instruments.interfaces(sandbox);
  await instruments.openFiles(container);
  await instruments.layers.usage(container.id, new Patience());
  return container.id;
}

test("open files are counted once for all who ask in a short time", async () => {
  const sandbox = fixture.addSandbox("aa", "/aa");
  const container = fixture.addContainer("ca", sandbox);
  mkdirSync(join(root, "aa/ca"), { recursive: true });
  writeFileSync(join(root, "aa/ca/cgroup.procs"), `${process.pid}\n`);
  const [first, second] = await Promise.all([
    instruments.openFiles(container),
    instruments.openFiles(container),
  ]);
  expect([first.isNew, second.isNew]).toEqual([true, false]);
  expect(first.value.descriptors).toBeGreaterThan(3);
  expect(second.value).toBe(first.value);
});

test("files stay open for a while after a look, and are opened again for the next", async () => {
  await lookAt("aa");
  instruments.forgetAllBut(() => false);
  instruments = openInstruments(fixture.runtime, 100);
  const openFiles = () =>
    readdirSync("/proc/self/fd").filter((name) => linkOf(`/proc/self/fd/${name}`).startsWith(root));
  for (let look = 0; look < 2; look++) {
    instruments.keepOpen();
    instruments.cgroups.sample("container", "/aa/aa");
    expect(openFiles().length).toBeGreaterThan(0);
    await eventually("they are closed", () => openFiles().length === 0);
  }
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

test("the file system is told as the machine shows it", async () => {
  const { limitBytes, inodes, freeInodes } = await instruments.filesystem();
  const table = Bun.spawnSync(["df", "-B1", "--output=size", root]).stdout.toString();
  expect(limitBytes).toBe(Number(table.trim().split("\n").at(-1)));
  expect(freeInodes).toBeLessThanOrEqual(inodes);
});

test("what is gone leaves nothing behind, and the rest is kept", async () => {
  const [kept, gone, lost] = [await lookAt("aa"), await lookAt("ab"), await lookAt("ac")];
  const keys = () => new Set([...instruments.cgroups.keys(), ...instruments.layers.keys()]);
  expect(keys()).toEqual(new Set([kept, gone, lost]));
  instruments.forget(gone);
  expect(keys()).toEqual(new Set([kept, lost]));
  instruments.forgetAllBut((id) => id === kept);
  expect(keys()).toEqual(new Set([kept]));
});
