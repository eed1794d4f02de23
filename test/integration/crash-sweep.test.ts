// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { sweepBinary } from "../faults/build.ts";
import { problemsOf } from "../faults/checker.ts";
import { CONTROL_VARIABLE } from "../faults/control.ts";
import { type Kind, runPlan } from "../faults/plan.ts";
import { openSweep, type Sweep } from "../faults/sweep.ts";
import { outputOf } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { isV2 } from "./harness/limits.ts";

// A sample of the points, begun at the same one each time; `make soak` goes through all of them.
const seconds: Readonly<Record<Kind, number>> = { die: 15, fail: 10, "die twice": 5, "fail at the start": 5 };
/** A start is much the same after any of them: every so many has its turn. */
const STARTS_EVERY = 3;

setDefaultTimeout(200_000);
let sweep: Sweep;
beforeAll(async () => {
  sweep = await openSweep();
});
afterAll(() => sweep?.close());

async function sample(kind: Kind, operations = sweep.operations): Promise<void> {
  const limitMs = seconds[kind] * 1000;
  const { rounds, hits, failures } = await runPlan(sweep, { kind, offset: 0.5, limitMs, operations });
  expect(failures).toEqual([]);
  expect(rounds).toBeGreaterThanOrEqual(operations.length);
  expect(hits).toBeGreaterThan(rounds / 4);
}

test("a daemon that dies at any point of a call loses nothing, leaves nothing, and the call can be repeated", () =>
  sample("die"));

const everyFew = (first: number) => sweep.operations.filter((_, index) => index % STARTS_EVERY === first);

test("it may die once more while it starts", () => sample("die twice", everyFew(1)));

test("any step of its start may fail: it starts all the same, or says why not and does the next time", () =>
  sample("fail at the start", everyFew(0)));

test("a call of which any step fails says so, is undone, and can be repeated", async () => {
  // Some that are kept are opened at their first use.
  await runPlan(sweep, { kind: "die", offset: 0, limitMs: 0, operations: sweep.operations.slice(0, 1) });
  const before = sweep.descriptors();
  await sample("fail");
  await eventually("all are closed", () => sweep.descriptors() - before < 5);
});

test("podrt itself has nothing of the switch that the swept build has", () => {
  expect(readFileSync(sweepBinary).includes(CONTROL_VARIABLE)).toBe(true);
  expect(readFileSync(binary).includes(CONTROL_VARIABLE)).toBe(false);
});

test("the checker notices what nobody lists and what is not there", async () => {
  const { root } = sweep.daemon;
  const bridge = `prt${instanceOf(root)}`;
  const [pod] = (await sweep.daemon.api.listPodSandbox({})).items;
  const hosts = join(root, "run/pods", pod!.id, "hosts");
  const upper = join(root, "lib/containers/0123456789abcdef");
  const group = join(
    isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids",
    `podrt-${instanceOf(root)}`,
    "0123456789abcdef".repeat(4),
  );
  const cases: readonly (readonly [string, () => unknown, () => unknown])[] = [
    ["upper directory", () => mkdirSync(upper), () => rmdirSync(upper)],
    ["hosts", () => renameSync(hosts, `${hosts}.away`), () => renameSync(`${hosts}.away`, hosts)],
    ["cgroup", () => mkdirSync(group), () => rmdirSync(group)],
    [
      "ports",
      () => outputOf("ip", ["link", "add", "prtstray0", "master", bridge, "type", "veth"]),
      () => outputOf("ip", ["link", "delete", "prtstray0"]),
    ],
    [
      "mount",
      () => outputOf("mount", ["-t", "tmpfs", "stray", join(root, "run/root")]),
      () => outputOf("umount", [join(root, "run/root")]),
    ],
  ];
  expect(await problemsOf(sweep.daemon)).toEqual([]);
  for (const [what, spoil, mend] of cases) {
    await spoil();
    const problems = await problemsOf(sweep.daemon).finally(mend);
    expect(problems.join("\n")).toContain(what);
  }
  await eventually("all is as before", async () => (await problemsOf(sweep.daemon)).length === 0);
});

test("the checker notices a process that nobody lists", async () => {
  const file = openSync(join(sweep.daemon.root, "run/lock"), "r");
  const stray = Bun.spawn(["sleep", "60"], { stdin: file });
  closeSync(file);
  try {
    const problem = `orphan: process ${stray.pid} (sleep)`;
    await eventually("it is noticed", async () =>
      (await problemsOf(sweep.daemon)).some((text) => text.startsWith(problem)),
    );
  } finally {
    stray.kill("SIGKILL");
    await stray.exited;
  }
});
