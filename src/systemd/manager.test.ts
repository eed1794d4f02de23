// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type FakeSystemd, startFakeSystemd } from "../../test/fixtures/fake-systemd.ts";
import { openSystemd, type Systemd } from "./manager.ts";

/** Long enough for a busy machine to answer within, except where nobody answers. */
const patient = { connect: 20_000, call: 20_000, job: 20_000, suspect: 20_000, fresh: 0 };
const request = { name: "podrt-1.scope", slice: "kubepods.slice", description: "a pod", pid: 42 };

let fake: FakeSystemd;
let systemd: Systemd;
beforeEach(async () => {
  fake = await startFakeSystemd();
  systemd = openSystemd(fake.address, patient);
});
afterEach(async () => {
  systemd.close();
  await fake[Symbol.asyncDispose]();
});

/** Kind and message of the error that a piece of work ends with. */
async function errorOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error) => `${error.kind}: ${error.message}`,
  );
}

describe("a systemd that answers", () => {
  test("makes delegated scopes without a limit of their own, and ends them", async () => {
    await systemd.startScope(request);
    expect(fake.started).toEqual([
      {
        name: "podrt-1.scope",
        properties: new Map<string, unknown>([
          ["Description", "a pod"],
          ["Slice", "kubepods.slice"],
          ["PIDs", [42]],
          ["Delegate", true],
          ["TasksMax", 2n ** 64n - 1n],
          ["DefaultDependencies", false],
          ["CollectMode", "inactive-or-failed"],
        ]) as never,
      },
    ]);
    await systemd.stopUnit("podrt-1.scope");
    expect(fake.stopped).toEqual(["podrt-1.scope"]);
    // One connection, which asked for signals before it needed them.
    expect(fake.called).toEqual(["Hello", "AddMatch", "Subscribe", "StartTransientUnit", "StopUnit"]);
  });

  test("is fine with a unit that it does not know being stopped", async () => {
    await systemd.stopUnit("podrt-gone.scope");
    expect(fake.called.at(-1)).toBe("StopUnit");
  });

  test("is connected to once by any number of callers, and anew when the connection has ended", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `podrt-${index}.scope`);
    await Promise.all(names.map((name) => systemd.startScope({ ...request, name })));
    expect(fake.called.filter((member) => member === "Hello").length).toBe(1);
    fake.behaviour = "cuts the connection in a call";
    expect(await errorOf(systemd.stopUnit("podrt-0.scope"))).toContain("closed from the other side");
    fake.behaviour = "answers";
    await Promise.all(names.map((name) => systemd.stopUnit(name)));
    expect(fake.called.filter((member) => member === "Hello").length).toBe(2);
    expect(fake.stopped.toSorted()).toEqual(names.toSorted());
  });

  test("is believed, and nobody else on the bus who sends the same signals", async () => {
    fake.forged = true;
    await systemd.startScope(request);
    expect(await systemd.problem()).toBeUndefined();
  });
});

describe("a systemd with trouble", () => {
  test.each([
    ["refuses", "FailedPrecondition: Not? you (org.freedesktop.DBus.Error.AccessDenied)"],
    ["fails", 'FailedPrecondition: systemd\'s job for podrt-1.scope ended as "failed"'],
    ["is not on the bus", "Unavailable: "],
    ["cuts the connection in a call", "Unavailable: "],
    ["cuts the connection in a job", "Unavailable: "],
    ["sends garbage", "Unavailable: "],
    ["refuses logins", "Unavailable: "],
  ] as const)("that %s is an error at once", async (behaviour, beginning) => {
    fake.behaviour = behaviour;
    expect(await errorOf(systemd.startScope(request))).toStartWith(beginning);
  });

  test.each([
    ["never answers", "Subscribe did not finish within 100 ms", { connect: 100 }],
    ["ignores logins", "logging in did not finish within 100 ms", { connect: 100 }],
    ["never finishes", "systemd's job for podrt-1.scope did not finish within 100 ms", { job: 100 }],
  ] as const)("that %s is an error after the deadline", async (behaviour, words, changes) => {
    fake.behaviour = behaviour;
    const hurried = openSystemd(fake.address, { ...patient, ...changes });
    const error = await errorOf(hurried.startScope(request));
    expect(error).toStartWith("Unavailable: ");
    expect(error).toContain(words);
    hurried.close();
  });

  test("that is silent once is asked for a sign of life before it is asked for more", async () => {
    const deadlines = { ...patient };
    const hurried = openSystemd(fake.address, deadlines);
    await hurried.startScope(request);
    Object.assign(deadlines, { call: 100, suspect: 100 });
    fake.behaviour = "never answers";
    for (let turn = 0; turn < 3; turn++) {
      expect(await errorOf(hurried.stopUnit("podrt-1.scope"))).toStartWith("Unavailable: ");
    }
    expect(fake.called.filter((member) => member === "StopUnit").length).toBe(1);
    expect(fake.called.filter((member) => member === "Ping").length).toBe(2);
    fake.behaviour = "answers";
    Object.assign(deadlines, patient);
    await hurried.stopUnit("podrt-1.scope");
    expect(fake.stopped).toEqual(["podrt-1.scope"]);
    hurried.close();
  });

  test("is named as last heard, and forgotten when it answers again", async () => {
    fake.behaviour = "is not on the bus";
    expect(await systemd.problem()).toContain("cannot talk to systemd over");
    fake.behaviour = "answers";
    const isWell = async () => (await systemd.problem()) === undefined;
    while (!(await isWell())) await Bun.sleep(1);
    expect(fake.called).toContain("Ping");
  }, 60_000);

  test("that is not there is named with where it was looked for", async () => {
    const absent = openSystemd("unix:path=/nonexistent/bus", patient);
    expect(await absent.problem()).toContain("cannot connect to /nonexistent/bus: ");
    expect(await errorOf(absent.startScope(request))).toContain("ENOENT");
    absent.close();
  });
});
