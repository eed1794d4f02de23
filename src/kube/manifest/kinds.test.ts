// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { parseManifest } from "./parse.ts";

const parsed = (...documents: string[]) => parseManifest([{ name: "m.yaml", text: documents.join("---\n") }]);
const notesOf = (...documents: string[]) =>
  parsed(...documents).notes.map((note) => note.replace(/^m.yaml:\d+:\d+: /, ""));
const refused =
  (...documents: string[]) =>
  () =>
    parsed(...documents);

const TEMPLATE = "template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: i}]}}";
const SELECTOR = "selector: {matchLabels: {app: x}}";
const workload = (kind: string, spec: string) =>
  `apiVersion: apps/v1\nkind: ${kind}\nmetadata: {name: w}\nspec: {${spec}}\n`;
const POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n";

describe("a StatefulSet", () => {
  const claims = "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]";
  const mounting =
    "template: {metadata: {labels: {app: x}}, spec: {volumes: [{name: data, emptyDir: {}}, {name: v, emptyDir: {}}], containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /d}]}]}}";

  test("gives numbered pods, each with names below its Service and a claim of its own", () => {
    const { pods } = parsed(
      workload(
        "StatefulSet",
        `replicas: 2, serviceName: db, ordinals: {start: 5}, ${SELECTOR}, ${claims}, ${mounting}`,
      ),
    );
    expect(pods.map(({ name }) => name)).toEqual(["w-5", "w-6"]);
    expect(pods[1]).toMatchObject({
      owner: "StatefulSet/w",
      labels: { app: "x", "statefulset.kubernetes.io/pod-name": "w-6", "apps.kubernetes.io/pod-index": "6" },
      spec: {
        hostname: "w-6",
        subdomain: "db",
        // The claim stands in the place of the template's volume of that name.
        volumes: [
          { name: "v", emptyDir: {} },
          { name: "data", persistentVolumeClaim: { claimName: "data-w-6" } },
        ],
      },
      objects: { claims: ["data-w-6"] },
    });
  });

  test("uses a claim that stands beside it, and refuses what it does not do", () => {
    const claim =
      "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data-w-0}\nspec: {accessModes: [ReadWriteOnce]}\n";
    expect(
      parsed(claim, workload("StatefulSet", `${SELECTOR}, ${claims}, ${mounting}`)).pods[0]!.objects?.claims,
    ).toEqual(["data-w-0"]);
    expect(
      refused(
        workload("StatefulSet", `${SELECTOR}, ${TEMPLATE}, volumeClaimTemplates: [{metadata: {}, spec: {}}]`),
      ),
    ).toThrow("spec.volumeClaimTemplates[0].metadata.name: is required");
    const retention = "persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}";
    expect(refused(workload("StatefulSet", `${SELECTOR}, ${TEMPLATE}, ${retention}`))).toThrow(
      'whenDeleted: "Delete" is not supported yet, only Retain',
    );
    expect(
      notesOf(workload("StatefulSet", `${SELECTOR}, ${TEMPLATE}, podManagementPolicy: OrderedReady`)),
    ).toEqual(["spec.podManagementPolicy: has no effect: all pods are started at once"]);
  });
});

test("a ReplicaSet is its replicas", () => {
  const { pods } = parsed(workload("ReplicaSet", `replicas: 2, ${SELECTOR}, ${TEMPLATE}`));
  expect(pods.map(({ name, owner }) => `${owner} ${name}`)).toEqual(["ReplicaSet/w w-0", "ReplicaSet/w w-1"]);
});

test("expressions of a selector have to match the template", () => {
  const selecting = (expression: string) =>
    workload("Deployment", `selector: {matchExpressions: [{${expression}}]}, ${TEMPLATE}`);
  for (const expression of [
    "key: app, operator: In, values: [x, y]",
    "key: app, operator: NotIn, values: [y]",
    "key: app, operator: Exists",
    "key: other, operator: DoesNotExist",
    "key: other, operator: NotIn, values: [x]",
  ]) {
    expect(parsed(selecting(expression)).pods).toHaveLength(1);
  }
  for (const expression of [
    "key: app, operator: In, values: [y]",
    "key: app, operator: NotIn, values: [x]",
    "key: other, operator: Exists",
    "key: app, operator: DoesNotExist",
  ]) {
    expect(refused(selecting(expression))).toThrow(
      "matchExpressions[0]: does not match the labels of the template",
    );
  }
  expect(refused(selecting("key: app, operator: In"))).toThrow("values: is required with In");
  expect(refused(selecting("key: app, operator: Exists, values: [x]"))).toThrow(
    "values: has no place with Exists",
  );
});

test("a List is its items, and a mistake in one is told where that stands", () => {
  const list = (...items: string[]) => `apiVersion: v1\nkind: List\nitems:\n${items.join("")}`;
  const item = (name: string, image = "image: i") =>
    `- {apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {containers: [{name: c, ${image}}]}}\n`;
  const map = "- {apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {a: b}}\n";
  expect(parsed(list(item("a"), map, item("b"))).pods.map(({ name }) => name)).toEqual(["a", "b"]);
  expect(refused(list(item("a"), item("b", "imag: i")))).toThrow(
    /^m.yaml:5:\d+: spec.containers\[0\].imag: there is no such field; did you mean image\?/m,
  );
  expect(refused("apiVersion: v1\nkind: List\n")).toThrow("m.yaml:1:1: items: expected a list");
  expect(refused(list(...Array.from({ length: 101 }, (_, index) => item(`p${index}`))))).toThrow(
    "items: has more than 100 entries",
  );
});

test("what only a cluster needs is told and left out", () => {
  const of = (kind: string) => `apiVersion: v1\nkind: ${kind}\nmetadata: {name: x}\nanything: [goes]\n`;
  expect(notesOf(of("Namespace"), of("ClusterRoleBinding"), of("PodDisruptionBudget"), POD)).toEqual([
    "kind: Namespace has no effect: a namespace is there with its first pod",
    "kind: ClusterRoleBinding has no effect: there is no API server",
    "kind: PodDisruptionBudget has no effect: there is only this machine",
  ]);
  expect(refused(of("NetworkPolicy"), POD)).toThrow("kind: NetworkPolicy is not supported yet; only Pod,");
});

test("what programs write that make or export manifests asks for nothing", () => {
  const made = `apiVersion: apps/v1
kind: Deployment
metadata: {creationTimestamp: null, name: w}
spec:
  replicas: 1
  selector: {matchLabels: {app: x}}
  strategy: {}
  template:
    metadata: {creationTimestamp: null, labels: {app: x}}
    spec: {ephemeralContainers: [], containers: [{name: c, image: i, resources: {}}]}
status: {}
`;
  expect(notesOf(made)).toEqual([]);
  const exported = `apiVersion: v1
kind: Pod
metadata: {name: p, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "7", generation: 1, ownerReferences: [{kind: X}]}
spec: {nodeName: n, containers: [{name: c, image: i}]}
status: {phase: Running}
`;
  expect(notesOf(exported)).toEqual([
    "metadata.creationTimestamp: has no effect: is set by Kubernetes",
    "metadata.resourceVersion: has no effect: is set by Kubernetes",
    "metadata.generation: has no effect: is set by Kubernetes",
    "metadata.ownerReferences: has no effect: there is no API server",
    "spec.nodeName: has no effect: there is only this machine",
    "status: has no effect: is written by Kubernetes",
  ]);
});

test("fields that are refused say what to do instead", () => {
  const pod = (fields: string, container = "") =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {${fields} containers: [{name: c, image: i, ${container}}]}\n`;
  expect(refused(pod("ephemeralContainers: [{name: d, image: i}],"))).toThrow(
    "spec.ephemeralContainers: cannot be set when a pod is made, here as in Kubernetes; `podrt debug POD` joins",
  );
  expect(refused(pod("volumes: [{name: v, nfs: {server: s, path: /p}}],"))).toThrow(
    "nfs: is not supported: there are no drivers; mount it on the machine",
  );
  expect(refused(pod("schedulingGates: [{name: g}],"))).toThrow("nobody would take a gate away");
  const long = "a".repeat(63);
  expect(refused(pod(`hostnameOverride: ${long}.b,`))).toThrow(
    "spec.hostnameOverride: makes a host name of more than 64",
  );
  expect(refused(pod("hostnameOverride: a.b, hostNetwork: true,"))).toThrow(
    "cannot be combined with hostNetwork",
  );
  const mounting = (fields: string) =>
    pod(
      "volumes: [{name: v, emptyDir: {}}],",
      `volumeMounts: [{name: v, mountPath: /v, recursiveReadOnly: Enabled, ${fields}}]`,
    );
  expect(refused(mounting(""))).toThrow("recursiveReadOnly: needs readOnly: true");
  expect(refused(mounting("readOnly: true, mountPropagation: HostToContainer"))).toThrow(
    "cannot be combined with mount",
  );
  expect(parsed(mounting("readOnly: true")).pods).toHaveLength(1);
});
