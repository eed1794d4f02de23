// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../src/linux/cgroup/host.ts";
import { cgroupText } from "./harness/cgroup-files.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerInfo,
  containerPid,
  execIn,
  runContainer,
  runSandbox,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";

/* A fork bomb stays within a limit of processes: the configured one, or that of the pod's cgroup, a kubelet's. */

const LIMIT = 200;
const fixture = useDaemon({ config: `[cgroup]\npids_limit = ${LIMIT}\n` });
// Its processes stay when no more can be made. It ends by itself: without a limit the machine lives.
const bomb = [
  "sh",
  "-c",
  "(i=0; while test $i -lt 2000; do sleep 3600 & i=$((i+1)); done) & exec sleep 3600",
];
const maxOf = (pid: number) => cgroupText(pid, "pids", "pids.max", "pids.max");
const inUse = (pid: number) => Number(cgroupText(pid, "pids", "pids.current", "pids.current"));

test("a fork bomb fills its container's limit and no more; others go on; it is stopped and removed", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "bomb");
  const other = await runContainer(daemon, pod, { name: "other" });
  const id = await runContainer(daemon, pod, { name: "bomb", command: bomb });
  const pid = await containerPid(daemon, id);
  expect(maxOf(pid)).toBe(String(LIMIT));
  expect((await containerInfo(daemon, id))["runtimeSpec"]).toMatchObject({
    linux: { resources: { pids: { limit: LIMIT } } },
  });
  await eventually("the limit is reached", () => inUse(pid) >= LIMIT - 5, 30_000);
  expect(await shellIn(daemon, other, "echo $(echo goes on)")).toBe("goes on");
  expect(inUse(pid)).toBeLessThanOrEqual(LIMIT + 1);
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  await daemon.api.removeContainer({ containerId: id });
});

test("in a shared process namespace too, where the pause is not its parent to kill", async () => {
  const { daemon } = fixture;
  const pod = await runSandbox(daemon, "shared-bomb", {
    linux: { securityContext: { namespaceOptions: { pid: 0 } } },
  });
  const linux = secured({ namespaceOptions: { pid: 0 } } as SecurityContext).linux;
  const other = await runContainer(daemon, pod, { name: "other", linux });
  const id = await runContainer(daemon, pod, { name: "bomb", command: bomb, linux });
  const pid = await containerPid(daemon, id);
  await eventually("the limit is reached", () => inUse(pid) >= LIMIT - 5, 30_000);
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  await daemon.api.removeContainer({ containerId: id });
  expect((await execIn(daemon, other, "true")).code).toBe(0);
});

test("where the caller's cgroup for the pod has a limit, that one counts alone, and the pod still ends", async () => {
  const { daemon } = fixture;
  const parent = openCgroup(detectCgroups(), `/podrt-limit-test-${process.pid}`);
  parent.create();
  try {
    parent.apply({ pidsLimit: 100 });
    const linux = { cgroupParent: parent.path } as object;
    const pod = await runSandbox(daemon, "kubelet", { linux });
    const id = await runContainer(daemon, pod, { name: "bomb", command: bomb });
    expect(maxOf(await containerPid(daemon, id))).toBe("max");
    const current = () => parent.details().pids?.current ?? 0;
    await eventually("the pod's limit is reached", () => current() >= 95, 30_000);
    await daemon.api.stopPodSandbox({ podSandboxId: pod });
    await daemon.api.removePodSandbox({ podSandboxId: pod });
  } finally {
    await parent.remove();
  }
});
