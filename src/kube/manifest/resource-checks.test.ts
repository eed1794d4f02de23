// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseManifest } from "./parse.ts";

/** The whole pod's resources in line 5, two containers with theirs in lines 7 and 8. */
const pod = (own: string, first: string, second = "", field = "containers") =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  resources: {${own}}\n  ${field}:\n  - {name: a, image: i, resources: {${first}}}\n  - {name: b, image: i, resources: {${second}}}\n`;
const parsed = (text: string) => parseManifest([{ name: "p.yaml", text }]).pods;

test("what a whole pod has may be less than its containers' limits together, but not than what they request", () => {
  const half = "limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m, memory: 512Mi}";
  const [read] = parsed(pod("limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1}", half, half));
  expect(read?.spec.resources).toEqual({
    limits: { cpu: 1000, memory: 2 ** 30 },
    requests: { cpu: 1000 },
  });
  for (const [own, first, second, problem] of [
    [
      "requests: {cpu: 900m}",
      half,
      half,
      "p.yaml:5:31: spec.resources.requests.cpu: is less than its containers request together, 1000m",
    ],
    [
      "limits: {cpu: 999m}",
      half,
      half,
      "spec.resources.limits.cpu: is less than its containers request together",
    ],
    [
      "limits: {memory: 1023Mi}",
      "requests: {memory: 1Gi}",
      "",
      "spec.resources.limits.memory: is less than its containers request together, 1073741824",
    ],
    [
      "limits: {cpu: 1, memory: 900Mi}",
      half.replace("512Mi", "100Mi"),
      "requests: {cpu: 100m}",
      "p.yaml:7:62: spec.containers[0].resources.limits.memory: is more than the limit of the whole pod, 943718400",
    ],
    ["limits: {cpu: 1}, requests: {cpu: 2}", "", "", "spec.resources.requests.cpu: is more than the limit"],
    [
      "limits: {hugepages-2Mi: 4Mi}, requests: {hugepages-2Mi: 2Mi}",
      "",
      "",
      "spec.resources.requests.hugepages-2Mi: must equal the limit",
    ],
    [
      "limits: {hugepages-2Mi: 4Mi}",
      "limits: {hugepages-2Mi: 4Mi}",
      "limits: {hugepages-2Mi: 2Mi}",
      "spec.resources.limits.hugepages-2Mi: is less than its containers request together, 6291456",
    ],
    [
      "limits: {ephemeral-storage: 1Gi}",
      "",
      "",
      "spec.resources.limits.ephemeral-storage: is not for a whole pod, here as in Kubernetes",
    ],
  ] as const) {
    expect(() => parsed(pod(own, first, second))).toThrow(problem);
  }
});

test("init containers have their own after another", () => {
  const text = (memory: string) =>
    `${pod("requests: {memory: 1Gi}", `requests: {memory: ${memory}}`, "requests: {memory: 1Gi}", "initContainers")}  containers: [{name: c, image: i}]\n`;
  expect(parsed(text("1Gi"))).toHaveLength(1);
  expect(() => parsed(text("1025Mi"))).toThrow("is less than its containers request together");
});
