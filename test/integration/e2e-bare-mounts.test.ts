// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { useDaemon } from "./harness/fixture.ts";
import { pausePid, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { namespaceOf, procText } from "./harness/proc.ts";

const fixture = useDaemon();

const manifest = `
apiVersion: v1
kind: Pod
metadata: { name: asked }
spec: { containers: [{ name: app, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "1000"] }] }
`;

/** The file system of a process's root, as `major:minor`. */
function rootDevice(pid: number): string {
  return procText(`/proc/${pid}/mountinfo`).split(" ")[2]!;
}

/** Where something is mounted for a process. */
function mountPoints(pid: number): string[] {
  return procText(`/proc/${pid}/mountinfo`)
    .trim()
    .split("\n")
    .map((line) => line.split(" ")[4]!);
}

async function callsOfPause(): Promise<string> {
  const { stdout } = await fixture.daemon.podrtWith({ stdin: manifest }, "explain", "--calls", "-");
  return stdout.slice(0, stdout.indexOf("\n  Container app"));
}

async function remove(podSandboxId: string): Promise<void> {
  await fixture.daemon.api.stopPodSandbox({ podSandboxId });
  await fixture.daemon.api.removePodSandbox({ podSandboxId });
}

const copied = "setns(fd of the mounts of another pause, CLONE_NEWNS)";

test("a pause begins with the mounts of another one, which may have gone, and not with the host's", async () => {
  const { daemon } = fixture;
  expect(await callsOfPause()).not.toContain(copied);
  const first = await runSandbox(daemon, "first");
  expect(await callsOfPause()).toContain(copied);
  const second = await runSandbox(daemon, "second");
  await remove(first);
  const third = await runSandbox(daemon, "third");
  await daemon.kill();
  await daemon.start();
  const fourth = await runSandbox(daemon, "fourth");
  const roots = await Promise.all([second, third, fourth].map((id) => pausePid(daemon, id)));
  expect(new Set(roots.map(rootDevice)).size).toBe(1);
  expect(new Set(roots.map((pid) => namespaceOf(pid, "mnt"))).size).toBe(3);
  for (const sandboxId of [second, third, fourth]) {
    expect(mountPoints(await pausePid(daemon, sandboxId))).toEqual(["/"]);
    const containerId = await runContainer(daemon, sandboxId, { name: "app" });
    const mounts = await shellIn(daemon, containerId, "cut -d' ' -f5 /proc/self/mountinfo");
    expect(mounts.split("\n")).toContain("/etc/hosts");
    expect(mounts).not.toContain(daemon.root);
    await remove(sandboxId);
  }
});
