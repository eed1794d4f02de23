// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { SYS } from "./abi/syscall-numbers.ts";
import { countOpenFiles, type OpenFiles, type OpenFilesBounds } from "./open-files.ts";

let child: Bun.Subprocess<"ignore", "pipe", "ignore">;

beforeEach(async () => {
  const script = 'exec 3</dev/null 4</dev/null 5>"$0"; echo ready; exec sleep 60';
  child = Bun.spawn(["bash", "-c", script, "/dev/null"], { stdio: ["ignore", "pipe", "ignore"] });
  // The shell has opened all by then; sleep opens and closes some files of its own when it begins.
  await child.stdout.getReader().read();
  while (targetsOf(child.pid).length !== 6 || !isSleeping(child.pid)) await Bun.sleep(5);
});

afterEach(async () => {
  child.kill("SIGKILL");
  await child.exited;
});

function isSleeping(pid: number): boolean {
  return readFileSync(`/proc/${pid}/syscall`, "utf8").startsWith(`${SYS.clock_nanosleep} `);
}

function targetsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((name) => readlinkSync(`/proc/${pid}/fd/${name}`));
}

function count(pids: readonly number[], bounds: Partial<OpenFilesBounds> = {}): OpenFiles[] {
  return [...countOpenFiles(pids, { processes: 100, links: 100, ...bounds })];
}

test("descriptors and sockets are those of all processes together", () => {
  const sockets = targetsOf(child.pid).filter((target) => target.startsWith("socket:")).length;
  expect(sockets).toBe(1);
  expect(count([child.pid, child.pid])).toEqual([
    { descriptors: 6, sockets: 1 },
    { descriptors: 12, sockets: 2 },
  ]);
});

test("processes that are gone count nothing", () => {
  expect(count([2 ** 22 + 1])).toEqual([{ descriptors: 0, sockets: 0 }]);
  expect(count([])).toEqual([]);
});

test("no more is looked at than the bounds allow", () => {
  expect(count([child.pid, child.pid], { processes: 1 })).toEqual([{ descriptors: 6, sockets: 1 }]);
  // The second is the socket: descriptors are listed by number.
  expect(count([child.pid, child.pid], { links: 1 }).at(-1)).toEqual({ descriptors: 12, sockets: 0 });
  expect(count([child.pid, child.pid], { links: 2 }).at(-1)).toEqual({ descriptors: 12, sockets: 1 });
});
