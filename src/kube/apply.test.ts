// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import { filesVolumePath } from "./pod.ts";

const k = useKeeper();

const podsOf = (value: string, image = "nginx:1") =>
  parseManifest([
    {
      name: "pod.yaml",
      text: `apiVersion: v1
kind: ConfigMap
metadata: {name: m}
data: {key: ${value}}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  volumes: [{name: v, configMap: {name: m}}]
  containers: [{name: app, image: "${image}", env: [{name: KEY, valueFrom: {configMapKeyRef: {name: m, key: key}}}]}]
`,
    },
  ]).pods;

const outcomes = async (value: string, image?: string) =>
  (await k.keeper.apply(podsOf(value, image))).map(({ outcome }) => outcome);
const running = () => until(() => k.status()?.phase === "Running", "it runs");
const shown = () => {
  const { pod } = k.records.get("default/p")!;
  return readFileSync(join(filesVolumePath(k.home, pod, "v"), "key"), "utf8");
};

test("what is new is run, what is the same is left alone", async () => {
  expect(await outcomes("one")).toEqual(["created"]);
  await running();
  expect(await outcomes("one")).toEqual(["unchanged"]);
  expect(k.creations()).toHaveLength(1);
});

test("another content is shown in volumes while the pod goes on, and in variables after its next start", async () => {
  await outcomes("one");
  await running();
  const { uid } = k.records.get("default/p")!.pod;
  expect(await outcomes("two")).toEqual(["updated"]);
  await until(() => shown() === "two", "the volume shows it");
  expect(k.creations()).toHaveLength(1);
  expect(k.records.get("default/p")!.pod.uid).toBe(uid);
  k.runtime.exit(k.app().containerId, 1);
  await until(() => k.creations().length === 2 && k.app().state === "running", "it was started anew");
  const { config } = k.runtime.running("app")!;
  expect(config.envs.map(({ value }) => Buffer.from(value).toString())).toEqual(["two"]);
});

test("an update that a daemon did not come to is made by the next", async () => {
  await outcomes("one");
  await running();
  await k.close();
  const record = k.records.get("default/p")!;
  k.records.set("default/p", { ...record, pod: { ...record.pod, objects: podsOf("three")[0]!.objects! } });
  k.open();
  await until(() => shown() === "three", "the volume shows it");
});

test("another spec replaces the pod, which is another one then", async () => {
  await outcomes("one");
  await running();
  const { uid } = k.records.get("default/p")!.pod;
  expect(await outcomes("one", "nginx:2")).toEqual(["replaced"]);
  await running();
  expect(k.records.get("default/p")!.pod.uid).not.toBe(uid);
  expect(k.runtime.running("app")!.config.image!.userSpecifiedImage).toBe("nginx:2");
});

test("of a workload that asks for fewer pods, or none, the others are removed", async () => {
  const { keeper } = k;
  const deployment = (name: string, replicas: number) =>
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}}\nspec: {replicas: ${replicas}, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: app, image: "nginx:1"}]}}}\n`;
  const applied = async (text: string) => {
    const { pods, workloads } = parseManifest([{ name: "m.yaml", text }]);
    const outcomes = await keeper.apply(pods, workloads);
    return outcomes.map(({ pod, outcome }) => `${pod.name} ${outcome}`);
  };
  expect(await applied(deployment("a", 3))).toEqual(["a-0 created", "a-1 created", "a-2 created"]);
  await applied(deployment("b", 1));
  // A pod of a file belongs to that.
  const [ofFile] = parseManifest([{ name: "m.yaml", text: deployment("a", 1) }]).pods;
  keeper.run([{ ...ofFile!, name: "a-7", uid: "of-a-file", file: "a.yaml" }]);
  expect(await applied(deployment("a", 1))).toEqual(["a-0 unchanged", "a-1 removed", "a-2 removed"]);
  expect(await applied(deployment("a", 0))).toEqual(["a-0 removed"]);
  expect(
    keeper
      .list()
      .map(({ pod }) => pod.name)
      .toSorted(),
  ).toEqual(["a-7", "b-0"]);
});
