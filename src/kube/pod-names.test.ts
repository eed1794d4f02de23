// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { podText, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { Pod } from "./pod.ts";
import { type NamedPods, podNames } from "./pod-names.ts";

const harness = useKeeper();

const ONE_CONTAINER = "containers: [{name: c, image: i}]";
const labelled = (name: string, labels: string, spec = "") =>
  podText(name, `{${ONE_CONTAINER}, ${spec}}`, `, labels: {${labels}}`);
const service = (name: string, spec: string) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {${spec}}\n---\n`;
const parsed = (text: string) => parseManifest([{ name: "m.yaml", text }]);

/** Each pod has the address 10.0.0.N, N from 1 in the order of the text; `unready` ones are not ready. */
function namesOf(text: string, unready: readonly string[] = []) {
  const { pods } = parsed(text);
  const named: NamedPods = {
    pods: () => pods,
    addressesOf: (pod: Pod) => [`10.0.0.${pods.indexOf(pod) + 1}`],
    isReady: ({ name }: Pod) => !unready.includes(name),
  };
  const names = podNames(named);
  return (name: string) => names.addressesOf(name)?.toSorted();
}

test("a pod has its name, its hostname and, with a subdomain, that one too, in its namespace", () => {
  const addresses = namesOf(
    [
      podText("web-0", `{hostname: first, subdomain: web, ${ONE_CONTAINER}}`),
      podText("web-1", `{subdomain: web, ${ONE_CONTAINER}}`),
      podText("other", `{${ONE_CONTAINER}}`, ", namespace: n"),
    ].join("---\n"),
  );
  for (const name of ["web-0.default.svc", "first.default.svc", "first.web.default.svc"]) {
    expect(addresses(name)).toEqual(["10.0.0.1"]);
  }
  expect(addresses("web.default.svc")).toEqual(["10.0.0.1", "10.0.0.2"]);
  expect(addresses("web-1.web.default.svc")).toEqual(["10.0.0.2"]);
  expect(addresses("other.n.svc")).toEqual(["10.0.0.3"]);
  for (const name of ["other.default.svc", "web-0.web.default.svc", "web-0", "x.web-0.default.svc"]) {
    expect(addresses(name)).toBeUndefined();
  }
  for (const name of ["", "svc", "default.svc", "n.svc"]) expect(addresses(name)).toEqual([]);
});

test("a Service leads to the pods that it selects and that are ready, before a pod of its name", () => {
  const text =
    service("db", "selector: {app: db}") +
    service("all", "selector: {app: db}, publishNotReadyAddresses: true") +
    [labelled("a", "app: db"), labelled("b", "app: db, x: y"), labelled("db", "app: web")].join("---\n");
  expect(namesOf(text)("db.default.svc")).toEqual(["10.0.0.1", "10.0.0.2"]);
  expect(namesOf(text, ["b"])("db.default.svc")).toEqual(["10.0.0.1"]);
  expect(namesOf(text, ["b"])("all.default.svc")).toEqual(["10.0.0.1", "10.0.0.2"]);
  expect(namesOf(text, ["a", "b"])("db.default.svc")).toEqual([]);
  // By its own name a pod is reached whether it is ready or not.
  expect(namesOf(text, ["b"])("b.default.svc")).toEqual(["10.0.0.2"]);
});

test("a Service tells what it does not do, and of what it does in vain", () => {
  const text =
    service(
      "web",
      "selector: {app: web}, type: NodePort, ports: [{port: 80, targetPort: http, nodePort: 30080}]",
    ) +
    service("same", "selector: {app: web}, ports: [{port: 8080}, {port: 443, targetPort: 443}]") +
    service("none", "selector: {app: nobody}") +
    podText(
      "p",
      "{containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}",
      ", labels: {app: web}",
    );
  expect(parsed(text).notes.map((note) => note.replace(/^m.yaml:\d+:\d+: /, ""))).toEqual([
    "spec.type: NodePort opens no port of the machine; a container's hostPort does",
    "spec.ports[0].targetPort: the name leads to the pods themselves: they are reached at port 8080, not at 80",
    "spec.ports[0].nodePort: has no effect: a container's hostPort opens a port of the machine",
    "spec.selector: selects no pod of this manifest",
  ]);
  const pod = podText("p", `{${ONE_CONTAINER}}`);
  for (const [bad, problem] of [
    [service("s", "clusterIP: None"), "spec.selector: needs at least one label"],
    [service("s", "selector: {a: b}, externalName: x.y"), "spec.externalName: is not supported"],
    [service("a.b", "selector: {a: b}"), "metadata.name: expected lower-case letters"],
    [service("s", "selector: {a: b}").repeat(2), "the Service default/s is given twice"],
    [service("s", "selector: {a: b}, clusterIP: 10.0.0.1"), "spec.clusterIP: expected one of None"],
  ] as const) {
    expect(() => parsed(bad + pod)).toThrow(problem);
  }
});

test("names of kept pods follow their sandboxes, and what is applied", async () => {
  const { keeper, runtime } = harness;
  const apply = (text: string) => keeper.apply(parsed(text).pods);
  const addresses = (name: string) => keeper.names.addressesOf(name);
  expect(addresses("p.default.svc")).toBeUndefined();
  runtime.images.set("i", { id: "sha256:1", user: "" });
  await apply(labelled("p", "app: web"));
  expect(addresses("p.default.svc")).toEqual([]);
  await until(() => addresses("p.default.svc")?.length === 1, "the pod has an address");
  expect(keeper.names.nameOf(addresses("p.default.svc")![0]!)).toBe("p.default.svc");
  // A Service is no reason to run a pod anew.
  const [applied] = await apply(service("web", "selector: {app: web}") + labelled("p", "app: web"));
  expect(applied!.outcome).toBe("updated");
  await until(() => addresses("web.default.svc")?.length === 1, "the Service has a ready pod");
  await keeper.delete("default", "p", 0);
  expect(addresses("p.default.svc")).toBeUndefined();
  expect(addresses("web.default.svc")).toBeUndefined();
});
