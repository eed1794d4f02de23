// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { containerEnvironment } from "./environment.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { PodHome } from "./pod.ts";

const home: PodHome = {
  stateDir: "/none",
  machineMemoryBytes: 2 ** 30,
  cpuCount: 4,
  nodeName: "here",
  hostAddresses: () => ["192.0.2.9", "2001:db8::9"],
  hostResolvConf: () => "",
  hostHosts: () => "",
  nameServer: () => undefined,
  takenIds: () => [],
};

const OBJECTS = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {A: from-map, B: $(A), "odd.key": odd}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {password: cGEkJChBKXNz}
stringData: {A: from-secret}
---
`;

/** The variables of the one container whose fields are `container`. */
function variables(container: string, pod = ""): Record<string, string> {
  const text = `${OBJECTS}apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default, uid: u-1, labels: {app: "x"}, annotations: {note: "two\\nlines"}}\nspec: {containers: [{name: c, image: i, ${container}}, {name: other, image: i, resources: {limits: {cpu: 1500m, memory: 64Mi}}}], ${pod}}\n`;
  const [parsed] = parseManifest([{ name: "f", text }]).pods;
  const place = { addresses: ["10.85.0.7", "fd00::7"] };
  return Object.fromEntries(containerEnvironment(parsed!, parsed!.spec.containers[0]!, home, place));
}

test("env comes after envFrom, and what is later replaces what is earlier", () => {
  const from = "envFrom: [{configMapRef: {name: settings}}, {prefix: K_, secretRef: {name: keys}}]";
  expect(variables(`${from}, env: [{name: A, value: own}, {name: C, value: "$(A) $(K_A) $(NONE)"}]`)).toEqual(
    {
      A: "own",
      B: "$(A)",
      "odd.key": "odd",
      K_password: "pa$$(A)ss",
      K_A: "from-secret",
      C: "own from-secret $(NONE)",
    },
  );
});

test("a key is taken as it is, without looking for variables in it", () => {
  const key = (kind: string, name: string, key: string) =>
    `{name: X, valueFrom: {${kind}: {name: ${name}, key: ${key}}}}`;
  expect(variables(`env: [${key("secretKeyRef", "keys", "password")}]`)).toEqual({ X: "pa$$(A)ss" });
  expect(variables(`env: [${key("configMapKeyRef", "settings", "A")}]`)).toEqual({ X: "from-map" });
});

test("what is optional and missing is not set", () => {
  const optional = "valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}";
  expect(
    variables(`env: [{name: X, ${optional}}], envFrom: [{secretRef: {name: no, optional: true}}]`),
  ).toEqual({});
});

test.each([
  ["metadata.name", "p"],
  ["metadata.namespace", "default"],
  ["metadata.uid", "u-1"],
  ["metadata.labels['app']", "x"],
  ["metadata.annotations['note']", "two\nlines"],
  ["metadata.labels['none']", ""],
  ["spec.nodeName", "here"],
  ["status.hostIP", "192.0.2.9"],
  ["status.hostIPs", "192.0.2.9,2001:db8::9"],
  ["status.podIP", "10.85.0.7"],
  ["status.podIPs", "10.85.0.7,fd00::7"],
])("the field %s", (path, value) => {
  expect(variables(`env: [{name: X, valueFrom: {fieldRef: {fieldPath: "${path}"}}}]`)).toEqual({ X: value });
});

test("with the host's network a pod has the machine's addresses", () => {
  const env = "env: [{name: X, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]";
  expect(variables(env, "hostNetwork: true")).toEqual({ X: "192.0.2.9" });
});

test("a limit that a container does not have is the whole pod's, and a request is not", () => {
  const told = (resource: string, containerName: string) =>
    variables(
      `env: [{name: X, valueFrom: {resourceFieldRef: {containerName: ${containerName}, resource: ${resource}, divisor: 1Mi}}}]`,
      "resources: {limits: {memory: 256Mi}, requests: {memory: 128Mi}}",
    )["X"];
  expect(told("limits.memory", "c")).toBe("256");
  expect(told("limits.memory", "other")).toBe("64");
  expect(told("requests.memory", "c")).toBe("0");
});

test.each([
  ["limits.cpu", "other", "", "2"],
  ["limits.cpu", "other", "1m", "1500"],
  ["requests.cpu", "other", "1m", "1500"],
  ["limits.memory", "other", "1Mi", "64"],
  ["limits.memory", "other", "1k", "67109"],
  ["limits.memory", "c", "1Mi", "1024"],
  ["limits.cpu", "c", "", "4"],
  ["requests.memory", "c", "", "0"],
])("the resource %s of %s in units of %j", (resource, containerName, divisor, value) => {
  const unit = divisor === "" ? "" : `, divisor: ${divisor}`;
  const reference = `resourceFieldRef: {containerName: ${containerName}, resource: ${resource}${unit}}`;
  expect(variables(`env: [{name: X, valueFrom: {${reference}}}]`)).toEqual({ X: value });
});
