// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import type { Runtime } from "../container/runtime.ts";
import type { PodStatus } from "../kube/pod-status.ts";
import { isOver, type Pods, unusedImages } from "./used-images.ts";

const image = (name: string) => ({
  id: `sha256:${name}`,
  repoTags: [`docker.io/library/${name}:latest`],
  repoDigests: [],
});
const names = [
  "contained",
  "mounted",
  "paused",
  "asked",
  "volume",
  "cron",
  "ended",
  "pinned",
  "pulling",
  "nobody",
];

const runtime = {
  images: {
    list: () => names.map(image),
    find: (reference: string) => (names.includes(reference) ? image(reference) : undefined),
    pulling: () => [{ reference: "pulling" }, { reference: "new" }],
  },
  containers: {
    list: () => [
      { sandboxId: "s1", imageId: "sha256:contained", imageVolumes: [{ imageId: "sha256:mounted" }] },
      { sandboxId: "s2", imageId: "sha256:ended" },
    ],
  },
  sandboxes: {
    list: () => [
      { id: "s1", uid: "u1", image: { id: "sha256:paused" } },
      { id: "s2", uid: "u2" },
    ],
  },
  config: { image: { pinned: ["docker.io/library/pinned:*"] } },
} as unknown as Runtime;

const podOf = (uid: string, ...images: string[]) => ({
  uid,
  spec: {
    containers: images.map((reference) => ({ name: reference, image: reference })),
    volumes: [{ name: "v", image: { reference: "volume" } }],
  },
});
const pods = {
  list: () => [{ pod: podOf("u1", "asked") }, { pod: podOf("u2", "ended") }],
  cronJobs: { list: () => [{ job: { pod: podOf("u3", "cron") } }] },
} as unknown as Pods;

const unused = (gone?: ReadonlySet<string>) =>
  unusedImages(runtime, pods, gone).map(({ repoTags }) => repoTags[0]!.slice(18, -7));

test("what nothing runs on, mounts, asks for, pulls or pins is unused", () => {
  expect(unused()).toEqual(["nobody"]);
});

test("pods that go let go of their images", () => {
  expect(unused(new Set(["u2"]))).toEqual(["ended", "nobody"]);
});

test("a pod is over when nothing of it will run again", () => {
  const status = (phase: string, nextTryAtMs = 0, file?: string) =>
    ({ phase, nextTryAtMs, pod: { file } }) as unknown as PodStatus;
  expect(["Succeeded", "Failed", "Stopped"].map((phase) => isOver(status(phase)))).toEqual([
    true,
    true,
    true,
  ]);
  expect(["Running", "Pending", "Stopping"].map((phase) => isOver(status(phase)))).toEqual([
    false,
    false,
    false,
  ]);
  expect(isOver(status("Failed", 5))).toBe(false);
  expect(isOver(status("Succeeded", 0, "/etc/podrt/manifests/x.yaml"))).toBe(false);
});
