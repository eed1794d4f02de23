// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import type { Runtime } from "../../container/runtime.ts";
import { bootId, identify, type ProcessIdentity } from "../../linux/process.ts";
import type { ContainerRecord } from "../../state/containers.ts";
import type { SandboxRecord } from "../../state/sandboxes.ts";
import { mapPods } from "./map-pods.ts";

const self = identify(process.pid) as ProcessIdentity;
const sandbox = (id: string, fields: Partial<SandboxRecord>) =>
  ({
    id,
    name: `pod-${id}`,
    namespace: "default",
    uid: `uid-${id}`,
    attempt: 0,
    createdAtNs: "2",
    readyAtNs: "3",
    bootId: bootId(),
    addresses: ["10.0.0.2"],
    ...fields,
  }) as SandboxRecord;
const container = (id: string, fields: Partial<ContainerRecord>) =>
  ({
    id,
    sandboxId: "a",
    name: id,
    attempt: 0,
    createdAtNs: "5",
    created: true,
    imageName: "busybox",
    ...fields,
  }) as ContainerRecord;

function tables(sandboxes: SandboxRecord[], containers: ContainerRecord[]): Runtime {
  return {
    bootId: bootId(),
    sandboxes: { list: () => sandboxes },
    containers: { list: () => containers },
  } as unknown as Runtime;
}

test("processes have the namespaces that the kernel tells, and those that are not theirs any more have none", async () => {
  const running = { startedAtNs: "6", process: self };
  const stale = { ...running, process: { ...self, startTicks: "1" } };
  const { machine, pods } = await mapPods(
    tables(
      [sandbox("b", {}), sandbox("a", { createdAtNs: "1", pause: self })],
      [
        container("late", { ...running, createdAtNs: "10" }),
        container("early", stale),
        container("half", { created: false }),
      ],
    ),
  );
  expect(pods.map(({ sandboxId }) => sandboxId)).toEqual(["a", "b"]);
  const [first, second] = pods;
  expect(first).toMatchObject({ name: { name: "pod-a" }, ready: true, addresses: ["10.0.0.2"] });
  expect(first?.monitor).toBeUndefined();
  const net = first?.pause?.namespaces.find(({ kind }) => kind === "net");
  expect(`net:[${net?.inode}]`).toBe(readlinkSync("/proc/self/ns/net"));
  expect(machine?.pid).toBe(process.pid);
  expect(first?.containers.map(({ name, state, process }) => [name, state, process?.pid])).toEqual([
    ["early", "running", undefined],
    ["late", "running", self.pid],
  ]);
  expect(second?.containers).toEqual([]);
});

test("a sandbox that is being made is not shown, and processes of an earlier boot are gone", async () => {
  const { readyAtNs: _, ...unfinished } = sandbox("b", {});
  const earlier = sandbox("a", { bootId: "earlier", pause: self, end: { atNs: "4", reason: "reboot" } });
  const { pods } = await mapPods(tables([unfinished, earlier], [container("c", { process: self })]));
  expect(pods).toHaveLength(1);
  expect(pods[0]).toMatchObject({ sandboxId: "a", ready: false, addresses: [] });
  expect(pods[0]?.pause).toBeUndefined();
  expect(pods[0]?.containers[0]?.process).toBeUndefined();
});
