// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeEach, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { allCases } from "../faults/registry/faults.ts";
import { startFaultRegistry } from "../faults/registry/registry.ts";
import { buildShiftedClock } from "../fixtures/clock-shift.ts";
import { openSession } from "../fixtures/session-client.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { keptPod } from "./harness/manifests.ts";
import { containerStatus, createContainer, exited, runContainer, runSandbox } from "./harness/pods.ts";

/*
 * The daemon's wall clock is set, by days and to 1970, while it works. Nothing that it waits for becomes longer or
 * shorter, nothing that it keeps changes its state, and new times are what the clock says.
 */

const DAY = 86_400;
const LONG_AGO = -Date.now() / 1000 + 60;
const clock = buildShiftedClock();
const registry = await startFaultRegistry();
const fixture = useDaemon({
  config: `[registries."${registry.host}"]
plain_http = true
[image]
stall_timeout_ms = 2000
[pods]
restart_backoff_ms = 500
restart_backoff_max_ms = 1000
`,
  program: { path: binary, environment: clock.environment },
});

beforeEach(() => clock.shift(0));
afterAll(() => {
  registry[Symbol.dispose]();
  clock[Symbol.dispose]();
});

/** Seconds that a time in nanoseconds is off from the machine's clock. */
const offOf = (ns: bigint) => Number(ns / 1_000_000n) / 1000 - Date.now() / 1000;

/** Sets the clock again and again to all sorts of times, until the work is done. */
async function amidJumps<T>(work: Promise<T>): Promise<T> {
  let isDone = false;
  void work.catch(() => {}).finally(() => (isDone = true));
  for (let turn = 0; !isDone; turn++) {
    clock.shift([30 * DAY, LONG_AGO, -5, 3 * DAY, 36_500 * DAY, 0][turn % 6]!);
    await Bun.sleep(50);
  }
  clock.shift(0);
  return work;
}

/** At least so long and not much longer, whatever the clock says. */
async function took(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

test("times are the clock's, also after it was wrong", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "times");
  for (const [index, seconds] of [10 * DAY, 0, LONG_AGO, 0].entries()) {
    clock.shift(seconds);
    const id = await createContainer(daemon, pod, { name: `c${index}` });
    const { createdAt } = await containerStatus(daemon, id);
    expect(Math.abs(offOf(createdAt) - seconds)).toBeLessThan(60);
    const { stats } = await daemon.api.podSandboxStats({ podSandboxId: pod });
    expect(Math.abs(offOf(stats!.linux!.cpu!.timestamp) - seconds)).toBeLessThan(60);
  }
});

test("what ended under another clock than it began under has ended, and what runs runs, also after a restart", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "states");
  const runs = await runContainer(daemon, pod, { name: "runs" });
  clock.shift(20 * DAY);
  const ends = await runContainer(daemon, pod, { name: "ends", command: ["sh", "-c", "sleep 1; exit 3"] });
  clock.shift(LONG_AGO);
  expect((await exited(daemon, ends)).exitCode).toBe(3);
  for (const seconds of [LONG_AGO, 20 * DAY, -20 * DAY]) {
    clock.shift(seconds);
    const { stdout } = await daemon.podrtWith({ env: clock.environment }, "ps", "-a");
    expect(stdout).toContain("runs");
    expect(stdout).not.toMatch(/\s-\d|NaN|Infinity/);
    await daemon.kill();
    await daemon.start();
    expect((await containerStatus(daemon, runs)).state).toBe(ContainerState.CONTAINER_RUNNING);
    const { state, exitCode } = await containerStatus(daemon, ends);
    expect([state, exitCode]).toEqual([ContainerState.CONTAINER_EXITED, 3]);
    const { status } = await daemon.api.podSandboxStatus({ podSandboxId: pod });
    expect(status!.state).toBe(0);
  }
});

test("time limits of execs and stops are as long as they are", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "limits");
  const containerId = await runContainer(daemon, pod, { name: "deaf", command: ["sleep", "3600"] });
  const exec = daemon.api.execSync({ containerId, cmd: ["sleep", "60"], timeout: 1n });
  const ended = await took(() =>
    amidJumps(
      exec.then(
        () => expect.unreachable(),
        (error) => expect(ConnectError.from(error).code).toBe(Code.DeadlineExceeded),
      ),
    ),
  );
  // PID 1 of its namespace hears no SIGTERM.
  const stopped = await took(() => amidJumps(daemon.api.stopContainer({ containerId, timeout: 1n })));
  for (const ms of [ended, stopped]) {
    expect(ms).toBeGreaterThan(950);
    expect(ms).toBeLessThan(30_000);
  }
});

test("the URL of a session is good for its minute", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "session");
  const containerId = await runContainer(daemon, pod, { name: "c" });
  for (const seconds of [DAY, LONG_AGO]) {
    clock.shift(0);
    const { url } = await daemon.api.exec({ containerId, cmd: ["echo", "on"], stdout: true, stderr: true });
    clock.shift(seconds);
    const session = await openSession(url, "websocket", { stdout: true, stderr: true });
    await session.closed;
    expect(session.stdout()).toBe("on\n");
  }
});

test("a registry that is silent, busy, or dates in another century is waited for as long as ever", async () => {
  const { daemon } = fixture;
  const pull = (step: string, name: string) => {
    const found = allCases.find((one) => one.step === step && one.name === name)!;
    return daemon.api.pullImage({ image: { image: registry.add(found) } });
  };
  await amidJumps(pull("index", "503-once"));
  await amidJumps(pull("layer-1", "429-once"));
  const silent = await took(() =>
    amidJumps(
      pull("manifest", "silent").then(
        () => expect.unreachable(),
        (error) => expect(String(error)).toContain("sent nothing for 2 s"),
      ),
    ),
  );
  expect(silent).toBeGreaterThan(1900);
});

test("a container of podrt run that crashes is started again and again", async () => {
  const { daemon } = fixture;
  const manifest =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: crashes}\nspec: {containers: [{name: app, image: busybox, command: ['false']}]}\n";
  expect((await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "-")).code).toBe(0);
  const restarts = async () => (await keptPod(daemon, "crashes")).containers[0]!.restarts;
  await eventually("it waits", async () => (await restarts()) >= 2);
  for (const seconds of [-30 * DAY, LONG_AGO, 30 * DAY]) {
    clock.shift(seconds);
    const before = await restarts();
    await eventually("it is started again", async () => (await restarts()) > before + 1, 20_000);
  }
  clock.shift(-30 * DAY);
  await daemon.kill();
  await daemon.start();
  const before = await restarts();
  await eventually("it is started after a restart", async () => (await restarts()) > before, 20_000);
  expect((await daemon.podrt("rm", "-f", "crashes")).code).toBe(0);
});
