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
