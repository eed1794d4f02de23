// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { expand } from "../kube/expand.ts";
import { parseManifest } from "../kube/manifest/parse.ts";
import { isCovered } from "../kube/permissions.ts";
import { nameOf, type QuickOptions, quickPod } from "./quick-pod.ts";

const env = { HOME: "/root", EMPTY: "" };
const build = (options: QuickOptions, ...command: string[]) => {
  const quick = quickPod("docker.io/library/busybox:1.36", command, options, env);
  const parsed = parseManifest([{ name: "f", text: quick.manifest }]);
  return { ...quick, parsed, spec: parsed.pods[0]!.spec, container: parsed.pods[0]!.spec.containers[0]! };
};

test("is a manifest that needs nothing but what its options say", () => {
  const all: QuickOptions = {
    name: "mine",
    stdin: true,
    tty: true,
    publish: ["80:8080", "127.0.0.1:5353:53/udp", "[::1]:2222:22"],
    volume: ["/srv/data:/data:ro", "stuff:/stuff", "/scratch"],
    env: ["A=b=c", "HOME", "EMPTY"],
    user: "1000:2000",
    workdir: "/tmp",
    memory: "64m",
    cpus: "0.5",
    restart: "on-failure",
    readOnly: true,
    capAdd: ["cap_net_admin"],
    capDrop: ["all"],
  };
  const { parsed, permissions, spec, container } = build(all, "sh", "-c", "true");
  expect(parsed.needs.filter(({ permission }) => !isCovered(permission, permissions))).toEqual([]);
  expect(permissions).toEqual(["host-path=/srv/data:ro", "port=80", "cap=NET_ADMIN"]);
  expect(parsed.pods[0]!.name).toBe("mine");
  expect(spec.restartPolicy).toBe("OnFailure");
  expect(container).toMatchObject({
    args: ["sh", "-c", "true"],
    stdin: true,
    tty: true,
    workingDir: "/tmp",
    env: [
      { name: "A", value: "b=c" },
      { name: "HOME", value: "/root" },
      { name: "EMPTY", value: "" },
    ],
    ports: [
      { containerPort: 8080, hostPort: 80, protocol: "TCP" },
      { containerPort: 53, hostPort: 5353, protocol: "UDP", hostIP: "127.0.0.1" },
      { containerPort: 22, hostPort: 2222, protocol: "TCP", hostIP: "::1" },
    ],
    resources: { limits: { memory: 64 * 2 ** 20, cpu: 500 } },
    securityContext: {
      runAsUser: 1000,
      runAsGroup: 2000,
      readOnlyRootFilesystem: true,
      capabilities: { add: ["NET_ADMIN"], drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "v0", mountPath: "/data", readOnly: true },
      { name: "v1", mountPath: "/stuff" },
      { name: "v2", mountPath: "/scratch" },
    ],
  });
  expect(spec.volumes).toMatchObject([
    { hostPath: { path: "/srv/data" } },
    { persistentVolumeClaim: { claimName: "stuff" } },
    { emptyDir: {} },
  ]);
});

test("a dollar on the command line is a dollar", () => {
  const words = ["echo", "$$ $(date) $HOME $$(x)"];
  const { container } = build({ env: ["A=$(B)$"] }, ...words);
  expect(container.args!.map((word) => expand(word, new Map([["date", "no"]])))).toEqual(words);
  expect(expand(container.env![0]!.value!, new Map([["B", "no"]]))).toBe("$(B)$");
});

test("a relative path is of this directory", () => {
  expect(build({ volume: ["./x:/y"] }).permissions).toEqual([`host-path=${process.cwd()}/x`]);
});

test("privileged and the host's network are allowed by being asked for", () => {
  const { parsed, permissions } = build({ privileged: true, net: "host" });
  expect(parsed.needs.filter(({ permission }) => !isCovered(permission, permissions))).toEqual([]);
});

test.each([
  ["busybox", "busybox"],
  ["registry:5000/a/My_App.x:1", "my-app-x"],
  [`app@sha256:${"0".repeat(64)}`, "app"],
  ["___", "container"],
])("the container of %s is %s", (image, name) => {
  expect(nameOf(image)).toBe(name);
});

test.each<[QuickOptions, string]>([
  [{ publish: ["80"] }, "--publish 80 is not [ADDRESS:]HOST_PORT:PORT"],
  [{ volume: ["a:b"] }, "--volume a:b is not SOURCE:PATH"],
  [{ env: ["NONE"] }, "there is no variable NONE here"],
  [{ user: "root" }, "--user root is no number"],
  [{ net: "none" }, "--net none is neither host nor container:NAME"],
])("%j is refused", (options, message) => {
  expect(() => build(options)).toThrow(message);
});
