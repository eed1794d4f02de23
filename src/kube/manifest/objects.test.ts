// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { parseManifest } from "./parse.ts";

const parsed = (...texts: string[]) =>
  parseManifest(texts.map((text, index) => ({ name: `${index}.yaml`, text })));
const podsOf = (...texts: string[]) => parsed(...texts).pods;

function refusal(...texts: string[]): string {
  try {
    podsOf(...texts);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("the manifest was accepted");
}

const map = (name: string, data: string, namespace = "default") =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${namespace}}\n${data}\n---\n`;
const secret = (fields: string) => `apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n${fields}\n---\n`;
const pod = (container: string, spec = "") =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, ${container}}], ${spec}}\n`;
const mounting = (source: string) => pod("", `volumes: [{name: v, ${source}}]`);
const text = (base64: string | undefined) => Buffer.from(base64 ?? "", "base64").toString();

describe("a pod takes along what it refers to", () => {
  test("and nothing else, from whichever file has it, before or after the pod", () => {
    const user = pod(
      "envFrom: [{configMapRef: {name: used}}]",
      "volumes: [{name: v, secret: {secretName: s}}]",
    );
    const [only] = podsOf(
      user,
      map("used", "data: {a: one}") + map("unused", "data: {b: two}"),
      secret("data: {k: b25l}"),
    );
    expect(Object.keys(only!.objects!.configMaps)).toEqual(["used"]);
    expect(text(only!.objects!.configMaps["used"]!["a"])).toBe("one");
    expect(text(only!.objects!.secrets["s"]!["k"])).toBe("one");
  });

  test("binary data as it is, stringData before data", () => {
    const both = map("m", "binaryData: {b: AAH/}") + secret("data: {a: b25l}\nstringData: {a: two}");
    const [only] = podsOf(both + pod("envFrom: [{configMapRef: {name: m}}, {secretRef: {name: s}}]"));
    expect(Buffer.from(only!.objects!.configMaps["m"]!["b"]!, "base64")).toEqual(Buffer.from([0, 1, 255]));
    expect(text(only!.objects!.secrets["s"]!["a"])).toBe("two");
  });

  test("a claim by its name", () => {
    const claim =
      "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk}\nspec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}\n---\n";
    const { pods, notes } = parsed(claim + mounting("persistentVolumeClaim: {claimName: disk}"));
    expect(pods[0]!.objects!.claims).toEqual(["disk"]);
    expect(notes).toEqual([
      "0.yaml:4:38: spec.storageClassName: has no effect: a claim is a directory of this machine",
    ]);
  });
});

describe("what is missing is told where it is asked for", () => {
  test.each([
    [
      "an object",
      pod("envFrom: [{configMapRef: {name: sets}}]"),
      'spec.containers[0].envFrom[0].configMapRef.name: there is no ConfigMap "sets" in this manifest in namespace default; did you mean set?',
    ],
    [
      "one of another kind",
      mounting("secret: {secretName: set}"),
      'spec.volumes[0].secret.secretName: there is no Secret "set" in this manifest in namespace default; add it to the manifest',
    ],
    [
      "a key",
      pod("env: [{name: X, valueFrom: {configMapKeyRef: {name: set, key: hots}}}]"),
      'configMapKeyRef.name: the ConfigMap set has no key "hots"; did you mean host?',
    ],
    [
      "a key of a volume",
      mounting("configMap: {name: set, items: [{key: none, path: x}]}"),
      'spec.volumes[0].configMap.name: the ConfigMap set has no key "none"',
    ],
    [
      "a claim",
      mounting("persistentVolumeClaim: {claimName: disk}"),
      'spec.volumes[0].persistentVolumeClaim.claimName: there is no PersistentVolumeClaim "disk"',
    ],
  ])("%s", (_name, manifest, message) => {
    expect(refusal(map("set", "data: {host: h}") + manifest)).toContain(message);
  });

  test("but what is optional may be missing", () => {
    const optional = "configMap: {name: none, optional: true}";
    expect(podsOf(mounting(optional))[0]!.objects!.configMaps).toEqual({});
  });

  test("an object of another namespace is another one", () => {
    const other = map("set", "data: {host: h}", "elsewhere");
    expect(refusal(other + mounting("configMap: {name: set}"))).toContain("in namespace default; add it");
  });
});

describe("mistakes in objects", () => {
  test.each([
    [
      "plain text in a Secret's data",
      secret("data: {k: not base64}"),
      'data["k"]: expected base64; a Secret takes plain text in stringData',
    ],
    ["a key that climbs", map("m", "data: {../x: y}"), "expected a key that is a file's name"],
    [
      "an object given twice",
      map("m", "") + map("m", ""),
      "metadata.name: the ConfigMap default/m is given twice",
    ],
    [
      "a key in both parts",
      map("m", "data: {a: x}\nbinaryData: {a: AAA=}"),
      'binaryData["a"]: is in data too',
    ],
    [
      "a type without its key",
      secret("type: kubernetes.io/tls\ndata: {tls.crt: AAAA}"),
      "needs the key tls.key",
    ],
    ["objects alone", map("m", ""), "holds no pod that could use what it holds"],
    [
      "a volume file that climbs",
      map("m", "data: {a: b}") + mounting("configMap: {name: m, items: [{key: a, path: ../x}]}"),
      "must not contain '..'",
    ],
    [
      "files in each other's way",
      map("m", "data: {a: b}") +
        mounting("configMap: {name: m, items: [{key: a, path: x}, {key: a, path: x/y}]}"),
      '"x/y" is in the way of another',
    ],
    [
      "a field in a volume that is not known yet",
      mounting("downwardAPI: {items: [{path: ip, fieldRef: {fieldPath: status.podIP}}]}"),
      "is not known yet when volumes are made",
    ],
    [
      "a field that does not exist",
      pod("env: [{name: X, valueFrom: {fieldRef: {fieldPath: metadata.nmae}}}]"),
      "did you mean metadata.name?",
    ],
    [
      "a resource of no container",
      pod("env: [{name: X, valueFrom: {resourceFieldRef: {containerName: d, resource: limits.cpu}}}]"),
      'there is no container "d"',
    ],
    [
      "a unit of another resource",
      pod("env: [{name: X, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1m}}}]"),
      "must be a number of bytes, as in 1Mi",
    ],
    [
      "a value from two places",
      pod("env: [{name: X, value: y, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"),
      "cannot be combined with value",
    ],
  ])("%s", (_name, manifest, message) => {
    expect(refusal(manifest)).toContain(message);
  });

  test("are told of each file by its name", () => {
    const wrong = pod("", "hostNetwrok: true");
    expect(
      refusal(pod(""), wrong, wrong)
        .split("\n")
        .map((line) => line.split(":")[0]),
    ).toEqual(["1.yaml", "2.yaml"]);
  });

  test("what pods take along is bounded", () => {
    const large = map("m", `data: {a: ${"x".repeat(900_000)}}`);
    const many = Array.from({ length: 40 }, (_, index) =>
      mounting("configMap: {name: m}").replace("name: p", `name: p${index}`),
    );
    expect(refusal(large, many.join("---\n"))).toContain("take along more than 32 MiB");
  });
});

describe("workloads give their pods", () => {
  const template = (spec = "") =>
    `template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]${spec}}}`;
  const deployment = (spec: string) =>
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {app: web}}, ${spec}}\n`;

  test("a Deployment its replicas", () => {
    const { pods, notes } = parsed(deployment(`replicas: 2, strategy: {type: Recreate}, ${template()}`));
    expect(pods.map(({ name, owner, labels }) => [name, owner, labels])).toEqual([
      ["web-0", "Deployment/web", { app: "web" }],
      ["web-1", "Deployment/web", { app: "web" }],
    ]);
    expect(notes.join()).toContain("spec.strategy: has no effect");
    expect(new Set(pods.map(({ uid }) => uid)).size).toBe(2);
  });

  test("a DaemonSet one, a Job one with its limits", () => {
    const set = deployment(template())
      .replace("Deployment", "DaemonSet")
      .replace("name: web}", "name: agent}");
    const job = `---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\nspec: {backoffLimit: 2, activeDeadlineSeconds: 60, ${template(", restartPolicy: Never")}}\n`;
    const [agent, once] = podsOf(set + job);
    expect(agent).toMatchObject({ name: "agent", owner: "DaemonSet/agent" });
    expect(once).toMatchObject({ name: "once", owner: "Job/once", job: { backoffLimit: 2 } });
    expect(once!.spec.activeDeadlineSeconds).toBe(60);
  });

  test.each([
    [
      "a selector that does not match",
      deployment(template()).replace("{app: web}}, ", "{app: wbe}}, "),
      "does not match the labels of the template; the template has app: web",
    ],
    [
      "a policy for what ends",
      deployment(template(", restartPolicy: Never")),
      "spec.template.spec.restartPolicy: must be Always here; use a Job for what ends",
    ],
    [
      "a Job that never ends",
      `apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {${template()}}\n`,
      "must be OnFailure or Never in a Job",
    ],
    [
      "a mistake in a template",
      deployment(template(", volumes: [{name: v}]")),
      "spec.template.spec.volumes[0]: needs a source",
    ],
    [
      "the API of another version",
      deployment(template()).replace("apps/v1", "extensions/v1beta1"),
      "apiVersion: expected apps/v1",
    ],
    [
      "a mistyped kind",
      deployment(template()).replace("Deployment", "Deploymnet"),
      "did you mean Deployment?",
    ],
    [
      "a missing object",
      deployment(template(", volumes: [{name: v, configMap: {name: m}}]")),
      "spec.template.spec.volumes[0].configMap.name: there is no ConfigMap",
    ],
  ])("%s", (_name, manifest, message) => {
    expect(refusal(manifest)).toContain(message);
  });
});
