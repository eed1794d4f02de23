// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerState, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "./harness/daemon.ts";
import { watch } from "./harness/event-watch.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  containerStatus,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  sandboxStatus,
} from "./harness/pods.ts";
import { isAlive, parentOf, procText } from "./harness/proc.ts";

const fixture = useDaemon();

interface Member {
  readonly id: string;
  readonly pid: number;
  lines(): string[];
}

/** A container that runs a line of shell, and what its log says. */
async function member(daemon: Daemon, sandboxId: string, name: string, line: string): Promise<Member> {
  const config = { name, command: ["sh", "-c", line], logPath: `${sandboxId}-${name}.log` };
  const id = await runContainer(daemon, sandboxId, config);
  const lines = () => contents(join(daemon.root, "logs", config.logPath));
  return { id, pid: await containerPid(daemon, id), lines };
}

function contents(path: string): string[] {
  const records = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  return records.map((record) => record.split(" ").slice(3).join(" "));
}

function podWithLogs(daemon: Daemon, name: string): Promise<string> {
  return runSandbox(daemon, name, { logDirectory: join(daemon.root, "logs") });
}

/** Lets go a container that waits for the file /go. */
function letGo({ pid }: Member): void {
  writeFileSync(`/proc/${pid}/root/go`, "");
}

const forGo = "while [ ! -e /go ]; do sleep 0.02; done";
const writtenLines = 3000;
const padding = "x".repeat(100);
const writes = `${forGo}; i=0; while [ $i -lt ${writtenLines} ]; do echo $i ${padding}; i=$((i+1)); done; exit 5`;

test("what happens while the daemon is dead is listed afterwards, and told once to who subscribes first", async () => {
  const { daemon } = fixture;
  const [pod, pauseless, monitorless] = [
    await podWithLogs(daemon, "away"),
    await podWithLogs(daemon, "away-pauseless"),
    await podWithLogs(daemon, "away-monitorless"),
  ];
  const seven = await member(daemon, pod, "seven", `${forGo}; echo last words; exit 7`);
  const killed = await member(daemon, pod, "killed", "sleep 3600");
  const writer = await member(daemon, pod, "writer", writes);
  const others = [
    await member(daemon, pauseless, "app", "sleep 3600"),
    await member(daemon, monitorless, "app", "sleep 3600"),
  ];
  const pause = await pausePid(daemon, pauseless);
  const monitor = parentOf(await pausePid(daemon, monitorless));

  await daemon.kill();
  for (const waiting of [seven, writer]) letGo(waiting);
  for (const pid of [killed.pid, pause, monitor]) process.kill(pid, "SIGKILL");
  const gone = [seven.pid, killed.pid, pause, monitor];
  await eventually("they have ended", () => !gone.some(isAlive));
  // Four starts and two exits of 40 bytes each; the time of an exit is taken when it is written down.
  const journal = join(daemon.root, "run/pods", pod, "journal");
  await eventually("the monitor has written both exits down", () => statSync(journal).size >= 6 * 40);
  // proc_pid_syscall(5): write(2) to descriptor 1, and it waits.
  await eventually("the pipe is full", () => procText(`/proc/${writer.pid}/syscall`).startsWith("1 0x1 "));
  const restartedNs = BigInt(Date.now() + 1) * 1_000_000n;
  await daemon.start();

  const watching = await watch(daemon);
  const stopped = ["stopped app", "stopped pod"];
  await eventually("the writer has ended", () => watching.of(pod).length >= 3);
  expect(watching.of(pod).toSorted()).toEqual(["stopped killed", "stopped seven", "stopped writer"]);
  for (const id of [pauseless, monitorless]) {
    expect(watching.of(id).toSorted()).toEqual(stopped);
    expect((await sandboxStatus(daemon, id)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  }
  for (const [{ id }, exitCode] of [
    [seven, 7],
    [killed, 137],
    [writer, 5],
    [others[0]!, 137],
    [others[1]!, 255],
  ] as const) {
    expect(await containerStatus(daemon, id)).toMatchObject({
      state: ContainerState.CONTAINER_EXITED,
      exitCode,
    });
  }
  for (const { id } of [seven, killed])
    expect((await containerStatus(daemon, id)).finishedAt).toBeLessThan(restartedNs);
  expect(seven.lines()).toEqual(["last words"]);
  expect(writer.lines()).toEqual(Array.from({ length: writtenLines }, (_, i) => `${i} ${padding}`));
  watching.leave();

  await daemon.kill();
  await daemon.start();
  const later = await watch(daemon);
  for (const id of [pod, pauseless, monitorless]) expect(later.of(id)).toEqual([]);
  later.leave();
  await daemon.removeEverything();
});

test("who ends while the daemon starts has its last words in the log, its code, and one event", async () => {
  const { daemon } = fixture;
  const pod = await podWithLogs(daemon, "meanwhile");
  const members: Member[] = [];
  for (let index = 0; index < 8; index++)
    members.push(await member(daemon, pod, `member-${index}`, `${forGo}; echo last words; exit 6`));
  await daemon.kill();
  const starting = daemon.start();
  for (const one of members) {
    letGo(one);
    await Bun.sleep(20);
  }
  await starting;
  const watching = await watch(daemon);
  for (const { id, lines } of members) {
    expect(await exited(daemon, id)).toMatchObject({ exitCode: 6, reason: "Error" });
    expect(lines()).toEqual(["last words"]);
  }
  const stopped = members.map((_, index) => `stopped member-${index}`);
  await eventually("all are told of", () => watching.of(pod).length >= stopped.length);
  expect(watching.of(pod).toSorted()).toEqual(stopped);
  watching.leave();
  await daemon.removeEverything();
});

test("a pod whose monitor does not answer holds up the start of the daemon, and no other pod meanwhile", async () => {
  const { daemon } = fixture;
  const pods: { readonly sandboxId: string; readonly app: Member }[] = [];
  for (const name of ["first", "second", "third"]) {
    const sandboxId = await podWithLogs(daemon, `held-up-${name}`);
    pods.push({ sandboxId, app: await member(daemon, sandboxId, "app", `${forGo}; echo gone; sleep 3600`) });
  }
  // Records are read in the order of their ids.
  const [stuck, ...others] = pods.toSorted((a, b) => (a.sandboxId < b.sandboxId ? -1 : 1));
  const monitor = parentOf(await pausePid(daemon, stuck!.sandboxId));
  await daemon.kill();
  process.kill(monitor, "SIGSTOP");
  const starting = daemon.start();
  try {
    for (const { app } of others) letGo(app);
    await eventually("the others' logs go on", () => others.every(({ app }) => app.lines().length === 1));
  } finally {
    process.kill(monitor, "SIGCONT");
  }
  await starting;
  for (const { sandboxId } of pods)
    expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
  await daemon.removeEverything();
});
