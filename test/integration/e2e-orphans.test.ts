// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, runDetached, runningPod, sharedNamespaceDemo } from "./harness/manifests.ts";
import { pausePid } from "./harness/pods.ts";
import { allPids, namespaceOf, procText, statusField } from "./harness/proc.ts";

const orphans = 10_000;
const fixture = useDaemon();

/** Minor faults of the children that a process has waited for (proc_pid_stat(5), field 11): each has some. */
function reapedFaults(pid: number): number {
  return Number(procText(`/proc/${pid}/stat`).split(") ")[1]?.split(" ")[8]);
}

test(`${orphans} orphans in a shared pod are reaped by the pause, and none stays a zombie`, async () => {
  const { daemon } = fixture;
  await runDetached(daemon, sharedNamespaceDemo);
  const pod = await runningPod(daemon, "shared-namespace-demo");
  const containerId = containerOf(pod, "shell").containerId;
  const pause = await pausePid(daemon, pod.sandboxId);
  const before = reapedFaults(pause);

  // The inner shell ends before the process that it started, which is then the pause's child.
  const line = `i=0; while [ $i -lt ${orphans} ]; do (true & exec true); i=$((i+1)); done`;
  const reply = await daemon.api.execSync({ containerId, cmd: ["sh", "-c", line], timeout: 150n });
  expect(reply.exitCode).toBe(0);

  const namespace = namespaceOf(pause, "pid");
  const members = () => allPids().filter((pid) => namespaceOf(pid, "pid") === namespace);
  await eventually("only the pod's own processes are left", () => members().length <= 5);
  expect(members().filter((pid) => statusField(pid, "State").startsWith("Z"))).toEqual([]);
  expect(reapedFaults(pause) - before).toBeGreaterThan(orphans / 2);
}, 180_000);
