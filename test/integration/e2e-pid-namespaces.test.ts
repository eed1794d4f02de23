// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import type { Pod } from "../../src/gen/podrt/v1/podrt_pb.ts";
import { PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, demoPod, runDetached, runningPod, sharedNamespaceDemo } from "./harness/manifests.ts";
import { containerPid, execIn, pausePid, sandboxStatus, shellIn } from "./harness/pods.ts";
import { isAlive, namespaceOf } from "./harness/proc.ts";

const fixture = useDaemon();
let own: Pod;
let shared: Pod;
let shell: string;

beforeAll(async () => {
  await runDetached(fixture.daemon, demoPod);
  await runDetached(fixture.daemon, sharedNamespaceDemo);
  own = await runningPod(fixture.daemon, "demo-pod");
  shared = await runningPod(fixture.daemon, "shared-namespace-demo");
  shell = containerOf(shared, "shell").containerId;
});

/** Process table as the shell sees it, pid to command line. */
async function processes(containerId: string): Promise<Map<number, string>> {
  const lines = (await shellIn(fixture.daemon, containerId, "ps -o pid,args")).split("\n").slice(1);
  return new Map(
    lines.map((line) => {
      const [, pid, args] = /^\s*(\d+)\s+(.*)$/.exec(line)!;
      return [Number(pid), args!.trim()];
    }),
  );
}

async function nginxWorkers(): Promise<number[]> {
  const table = await processes(shell);
  return [...table].filter(([, args]) => args.startsWith("nginx: worker process")).map(([pid]) => pid);
}

test("in a default pod the application is PID 1 and sees neither its sibling nor the pause", async () => {
  const seen = await processes(containerOf(own, "app2").containerId);
  expect(seen.get(1)).toBe("sleep 3600");
  expect([...seen.values()].some((args) => /nginx|pause/.test(args))).toBe(false);
  const nginx = await processes(containerOf(own, "app1").containerId);
  expect(nginx.get(1)).toStartWith("nginx: master process");
  expect([...nginx.values()].some((args) => /sleep|pause/.test(args))).toBe(false);
});

test("in a shared pod ps ax shows the pause as PID 1, nginx's master and workers, and the shell", async () => {
  const table = await shellIn(fixture.daemon, shell, "ps ax");
  expect(table).toMatch(/^\s*1\s+\S+\s+.*\/pause$/m);
  expect(table).toMatch(/nginx: master process/);
  expect(table.match(/nginx: worker process/g)).toHaveLength(2);
  expect(table).toMatch(/sleep 3600/);
});

test("all processes of a shared pod are in the pause's process namespace", async () => {
  const { daemon } = fixture;
  const pause = await pausePid(daemon, shared.sandboxId);
  const pids = await Promise.all(
    shared.containers.map(({ containerId }) => containerPid(daemon, containerId)),
  );
  expect(pids.map((pid) => namespaceOf(pid, "pid"))).toEqual(pids.map(() => namespaceOf(pause, "pid")));
  expect(namespaceOf(pause, "pid")).not.toBe(namespaceOf("self", "pid"));
});

test("kill -HUP of nginx's master from the shell makes it replace its workers", async () => {
  const before = await nginxWorkers();
  expect(before).toHaveLength(2);
  const master = [...(await processes(shell))].find(([, args]) =>
    args.startsWith("nginx: master process"),
  )![0];
  expect((await execIn(fixture.daemon, shell, "kill", "-HUP", String(master))).code).toBe(0);
  await eventually("nginx has two workers, all of them new", async () => {
    const after = await nginxWorkers();
    return after.length === 2 && after.every((pid) => !before.includes(pid));
  });
});

test("kill -HUP, -USR1 and -CHLD of PID 1 leave the pod running", async () => {
  const { daemon } = fixture;
  const pause = await pausePid(daemon, shared.sandboxId);
  for (const signal of ["HUP", "USR1", "USR2", "CHLD", "PIPE"]) {
    await execIn(daemon, shell, "kill", `-${signal}`, "1");
  }
  await Bun.sleep(200);
  expect(isAlive(pause)).toBe(true);
  expect((await sandboxStatus(daemon, shared.sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
  const again = await runningPod(daemon, "shared-namespace-demo");
  expect(again.containers.map(({ restarts }) => restarts)).toEqual([0, 0]);
});
