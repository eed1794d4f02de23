// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseManifest } from "./parse.ts";

const podsOf = (text: string, name: string) => parseManifest([{ name, text }]).pods;

const DEMO = `apiVersion: v1
kind: Pod
metadata: {name: demo-pod}
spec:
  containers:
  - {name: app1, image: nginx}
  - {name: app2, image: busybox, command: ["sleep", "3600"]}
---
apiVersion: v1
kind: Pod
metadata: {name: shared-namespace-demo}
spec:
  shareProcessNamespace: true
  containers:
  - {name: nginx, image: nginx}
  - {name: shell, image: "busybox:1.28", command: ["sleep", "3600"], stdin: true, tty: true}
`;

/** The message that `text` is refused with; fails when it is accepted. */
function refusal(text: string): string {
  try {
    podsOf(text, "pod.yaml");
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("the manifest was accepted");
}

/** The demo pod with lines added to its spec. */
const withSpec = (lines: string) =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: b}\n${lines}`;
describe("a right manifest", () => {
  test("gives its pods in order, with defaults for namespace and uid", () => {
    const [demo, shared] = podsOf(DEMO, "pod.yaml");
    expect(demo).toMatchObject({ name: "demo-pod", namespace: "default", labels: {} });
    expect(demo?.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(demo?.spec.containers.map(({ name }) => name)).toEqual(["app1", "app2"]);
    expect(demo?.spec.containers[1]?.command).toEqual(["sleep", "3600"]);
    expect(shared?.spec.shareProcessNamespace).toBe(true);
    expect(shared?.spec.containers[1]).toMatchObject({ stdin: true, tty: true });
  });

  test("may have empty documents, a generated name and fields that are null", () => {
    const [pod] = podsOf(
      "---\n---\napiVersion: v1\nkind: Pod\nmetadata: {generateName: x-, labels: null}\nspec: {containers: [{name: a, image: b}]}\n---\n",
      "f",
    );
    expect(pod?.name).toMatch(/^x-[0-9a-f]{5}$/);
  });

  test("may use anchors", () => {
    const [pod] = podsOf(
      withSpec(
        "  - {name: c, image: d, env: &e [{name: X, value: '1'}]}\n  - {name: f, image: g, env: *e}\n",
      ),
      "f",
    );
    expect(pod?.spec.containers[2]?.env).toEqual([{ name: "X", value: "1" }]);
  });

  test("has quantities as numbers", () => {
    const [pod] = podsOf(
      withSpec(
        "  - {name: c, image: d, resources: {limits: {cpu: 0.5, memory: 1.5Gi}, requests: {cpu: 100m}}}\n",
      ),
      "f",
    );
    expect(pod?.spec.containers[1]?.resources).toEqual({
      limits: { cpu: 500, memory: 1_610_612_736 },
      requests: { cpu: 100 },
    });
  });
});

describe("a mistake is told with file, line, column, field and a suggestion", () => {
  const cases: [name: string, text: string, message: string][] = [
    [
      "an unknown field",
      "  hostNetwrok: true\n",
      "pod.yaml:7:3: spec.hostNetwrok: there is no such field; did you mean hostNetwork?",
    ],
    [
      "an unknown field far from any",
      "  frobnicate: true\n",
      "pod.yaml:7:3: spec.frobnicate: there is no such field",
    ],
    [
      "a field that is not supported",
      "  resourceClaims: [{name: gpu}]\n",
      "pod.yaml:7:3: spec.resourceClaims: is not supported yet",
    ],
    [
      "a wrong type",
      "  hostNetwork: 'yes'\n",
      `pod.yaml:7:16: spec.hostNetwork: expected true or false, got "yes"`,
    ],
    [
      "a wrong word",
      "  restartPolicy: always\n",
      `pod.yaml:7:18: spec.restartPolicy: expected one of Always, OnFailure, Never, got "always"; did you mean Always?`,
    ],
    [
      "a field given twice",
      "  hostPID: true\n  hostPID: true\n",
      "pod.yaml:8:3: spec.hostPID: is given twice",
    ],
    [
      "a volume without a source",
      "  volumes: [{name: v}]\n",
      "pod.yaml:7:13: spec.volumes[0]: needs a source, as in emptyDir: {}",
    ],
    [
      "options that exclude each other",
      "  hostPID: true\n  shareProcessNamespace: true\n",
      "pod.yaml:8:26: spec.shareProcessNamespace: cannot be combined with hostPID",
    ],
    [
      "a merge key",
      "  <<: {hostPID: true}\n",
      "pod.yaml:7:3: spec.<<: merge keys are not supported, write the fields out",
    ],
    [
      "a value that is only a default",
      "  os: {name: windows}\n",
      'pod.yaml:7:14: spec.os.name: "windows" is not supported yet, only linux',
    ],
    [
      "a name that an init container has too",
      "  initContainers: [{name: a, image: c}]\n",
      `pod.yaml:6:12: spec.containers[0].name: "a" is given twice; choose another`,
    ],
    [
      "a lifecycle of an init container that must end",
      "  initContainers: [{name: i, image: c, lifecycle: {stopSignal: SIGINT}}]\n",
      "pod.yaml:7:51: spec.initContainers[0].lifecycle: needs restartPolicy Always, which makes the init container a sidecar",
    ],
    [
      "a name given twice",
      "  - {name: a, image: c}\n",
      `pod.yaml:7:12: spec.containers[1].name: "a" is given twice; choose another`,
    ],
  ];
  test.each(cases)("%s", (_name, lines, message) => {
    expect(refusal(withSpec(lines))).toBe(message);
  });

  /** A whole text, since what is wrong with these is how it is laid out. */
  const layouts: [name: string, text: string, messages: string[]][] = [
    [
      "a tab",
      "kind: Pod\nspec:\n\tcontainers:\n\t- name: a\n",
      ["pod.yaml:3:1: a tab indents this line; YAML takes spaces only"],
    ],
    [
      "a line that is indented too deep",
      "kind: Pod\nmetadata:\n  name: a\n   labels: {}\n",
      ["pod.yaml:3:9: the next line is indented deeper than it can be; align it with its neighbours"],
    ],
    [
      "a colon in a value",
      "kind: Pod\nimage: nginx: latest\n",
      [
        "pod.yaml:2:8: a second ': ' stands in this line; put the value in quotes, or each field on a line of its own",
      ],
    ],
    ["a quote", 'kind: "Pod\nmetadata: {}\n', ["pod.yaml:3:1: a quote is opened and never closed; close it"]],
    [
      "a field that stands too far out",
      "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\ncontainers:\n- {name: a, image: b}\n",
      [
        "pod.yaml:4:1: spec: is required, and has no value; what belongs to it is indented below it",
        "pod.yaml:5:1: containers: there is no such field here; it belongs below spec: indent it",
      ],
    ],
    [
      "a field of a container beside its list",
      withSpec("  command: [a]\n"),
      [
        "pod.yaml:7:3: spec.command: there is no such field here; it belongs into an entry of containers: indent it",
      ],
    ],
    [
      "a field that stands too far in",
      "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: a\n    image: b\n    volumes: []\n",
      [
        "pod.yaml:8:5: spec.containers[0].volumes: there is no such field here; it belongs beside containers: indent it less",
      ],
    ],
    [
      "another program's file",
      "services:\n  web: {image: nginx}\n",
      [
        "pod.yaml:1:1: is no manifest of Kubernetes, having neither kind nor apiVersion; it looks like a Compose file, which podrt does not read",
      ],
    ],
  ];
  test.each(layouts)("%s", (_name, text, messages) => {
    expect(refusal(text).split("\n")).toEqual(messages);
  });

  const containerCases: [name: string, text: string, message: string][] = [
    [
      "a near miss",
      "imagePulPolicy: Always",
      "7:5: spec.containers[1].imagePulPolicy: there is no such field; did you mean imagePullPolicy?",
    ],
    [
      "a number where text is due",
      "env: [{name: P, value: 8080}]",
      'spec.containers[1].env[0].value: expected a string, got the number 8080; write "8080"',
    ],
    [
      "a value that is taken from nowhere",
      "env: [{name: P, valueFrom: {}}]",
      "spec.containers[1].env[0].valueFrom: needs one of configMapKeyRef,",
    ],
    [
      "a missing volume",
      "volumeMounts: [{name: v, mountPath: /x}]",
      'volumeMounts[0].name: there is no volume "v" in spec.volumes',
    ],
    [
      "a relative mount path",
      "volumeMounts: [{name: v, mountPath: x}]",
      'expected an absolute path, got "x"',
    ],
    ["a mount path that climbs", "volumeMounts: [{name: v, mountPath: /a/../b}]", "must not contain '..'"],
    [
      "a port out of range",
      "ports: [{containerPort: 70000}]",
      "expected a whole number from 1 to 65535, got the number 70000",
    ],
    ["a port in quotes", "ports: [{containerPort: '80'}]", 'got "80"; write 80 without quotes'],
    ["a command in one piece", "command: sleep 3600", 'got "sleep 3600"; write ["sleep", "3600"]'],
    [
      "a mapping where a list is due",
      "env: {A: b}",
      "env: expected a list, got a mapping; begin each entry with '- '",
    ],
    [
      "a bad quantity",
      "resources: {limits: {memory: 1GB}}",
      'resources.limits.memory: expected a quantity as in 128Mi, got "1GB"; did you mean 1G?',
    ],
    [
      "a request above its limit",
      "resources: {limits: {cpu: 1}, requests: {cpu: 2}}",
      "resources.requests.cpu: is more than the limit",
    ],
    [
      "an unknown capability",
      "securityContext: {capabilities: {add: [CAP_NET_ADMIN]}}",
      "did you mean NET_ADMIN?",
    ],
    [
      "a probe with two actions",
      "livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 80}}",
      "spec.containers[1].livenessProbe: needs one of exec, httpGet, tcpSocket and grpc, and no more",
    ],
    [
      "a probe of a port that is not there",
      "readinessProbe: {httpGet: {port: web}}",
      'spec.containers[1].readinessProbe.httpGet.port: the container has no port of the name "web"',
    ],
    [
      "a startup probe that must succeed twice",
      "startupProbe: {grpc: {port: 80}, successThreshold: 2}",
      "spec.containers[1].startupProbe.successThreshold: must be 1, except for a readinessProbe",
    ],
    [
      "a header that would be two",
      'livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: A, value: "x\\ny"}]}}',
      "httpHeaders[0].value: expected printable ASCII",
    ],
  ];
  test.each(containerCases)("%s in a container", (_name, line, message) => {
    expect(refusal(withSpec(`  - name: c\n    image: d\n    ${line}\n`))).toContain(
      message.replace(/^7:5/, "pod.yaml:9:5"),
    );
  });

  test("every mistake of every document, in the order of the text", () => {
    const text = `${withSpec("  hostPid: true\n")}---\nkind: Pod\napiVersion: v1\nmetadata: {}\nspec: {containers: []}\n`;
    expect(refusal(text).split("\n")).toEqual([
      "pod.yaml:7:3: spec.hostPid: there is no such field; did you mean hostPID?",
      "pod.yaml:12:20: spec.containers: needs at least 1 entry",
    ]);
  });

  test("no pod when another document is wrong", () => {
    expect(refusal(`${DEMO}---\nkind: Ingress\napiVersion: v1\n`)).toStartWith(
      "pod.yaml:18:7: kind: Ingress is not supported yet; only Pod, Deployment",
    );
  });

  test("two pods of one name", () => {
    expect(refusal(`${DEMO}---\n${DEMO.split("---")[0]}`)).toContain(
      "the pod default/demo-pod is given twice",
    );
  });

  test("a YAML error", () => {
    expect(refusal("a: [1,\nb: }")).toMatch(/^pod\.yaml:2:\d+: /);
    expect(refusal("x: !weird y\n")).toContain("pod.yaml:1:4: Unresolved tag");
  });

  test("a text without a pod", () => {
    expect(refusal("")).toBe("pod.yaml:1:1: holds no pod");
    expect(refusal("just words")).toBe('pod.yaml:1:1: expected a Pod, got "just words"');
  });
});

describe("hostile text is bounded", () => {
  test("size", () => {
    expect(refusal("#".repeat(1024 * 1024 + 1))).toBe("pod.yaml: is larger than 1024 KiB");
  });

  test("number of documents", () => {
    expect(refusal("---\na: 1\n".repeat(101))).toBe("pod.yaml: has more than 100 documents");
  });

  test("number of mistakes listed", () => {
    const lines = refusal(withSpec(Array.from({ length: 100 }, (_, i) => `  f${i}x: 1\n`).join(""))).split(
      "\n",
    );
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toBe("pod.yaml: and 80 more problems");
  });

  test("aliases that stand for ever more", () => {
    const env = `&b [&a {name: E, value: v}${", *a".repeat(4000)}]`;
    const text = withSpec(
      `  - {name: c, image: d, env: ${env}}\n${"  - {name: c, image: d, env: *b}\n".repeat(90)}`,
    );
    const started = performance.now();
    expect(refusal(text)).toContain("the document has more than 100000 nodes");
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("an alias to itself", () => {
    expect(
      refusal("spec: &a {containers: [*a]}\nkind: Pod\napiVersion: v1\nmetadata: {name: x}\n"),
    ).toContain("spec.containers[0]");
  });

  test("depth", () => {
    expect(refusal("[".repeat(500_000))).toContain("is nested too deeply");
  });

  test("any text is either read or refused with a position", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        expect(refusal(text)).toMatch(/^pod\.yaml(:\d+:\d+)?: /);
      }),
      { numRuns: 500 },
    );
  });

  test("the demo with any one character changed is read or refused, never a crash", () => {
    fc.assert(
      fc.property(
        fc.nat(DEMO.length - 1),
        fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
        (at, character) => {
          try {
            podsOf(DEMO.slice(0, at) + character + DEMO.slice(at + 1), "pod.yaml");
          } catch (error) {
            expect((error as Error).message).toMatch(/^pod\.yaml(:\d+:\d+)?: /);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
