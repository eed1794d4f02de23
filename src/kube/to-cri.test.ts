// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { toJson } from "@bufbuild/protobuf";
import {
  ContainerConfigSchema,
  NamespaceMode,
  PodSandboxConfigSchema,
  SecurityProfile_ProfileType,
  Signal,
} from "../gen/runtime/v1/api_pb.ts";
import { namedPorts } from "./container-ports.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { Pod, PodHome } from "./pod.ts";
import { containerConfig, sandboxConfig } from "./to-cri.ts";

const home: PodHome = {
  stateDir: "/var/lib/podrt",
  machineMemoryBytes: 8 * 2 ** 30,
  cpuCount: 1,
  nodeName: "node",
  hostAddresses: () => ["192.0.2.9"],
  hostResolvConf: () =>
    "nameserver 192.0.2.1\nsearch old.example\nsearch example.com\noptions ndots:2 rotate\n",
  hostHosts: () => "",
  nameServer: () => undefined,
  takenIds: () => [],
};

function pod(spec: string, metadata = "{name: p, uid: u}"): Pod {
  const text = `apiVersion: v1\nkind: Pod\nmetadata: ${metadata}\nspec: ${spec}\n`;
  return parseManifest([{ name: "pod.yaml", text: text }]).pods[0]!;
}

const image = { id: "sha256:1", reference: "nginx" };
const sandbox = (spec: string) => sandboxConfig(pod(spec), 3, home);
function container(fields: string, spec = "") {
  const parsed = pod(`{containers: [{name: a, image: nginx, ${fields}}], ${spec}}`);
  return containerConfig(parsed, parsed.spec.containers[0]!, 2, image, home, { addresses: ["10.85.0.7"] });
}

describe("a sandbox", () => {
  test("is named, labelled and logged as a kubelet does it", () => {
    const config = sandboxConfig(
      pod(
        "{containers: [{name: a, image: b}]}",
        "{name: p, namespace: n, uid: u, labels: {k: v}, annotations: {x: y}}",
      ),
      3,
      home,
    );
    expect(toJson(PodSandboxConfigSchema, config)).toMatchObject({
      metadata: { name: "p", namespace: "n", uid: "u", attempt: 3 },
      hostname: "p",
      logDirectory: "/var/lib/podrt/logs/n_p_u",
      labels: {
        k: "v",
        "io.kubernetes.pod.name": "p",
        "io.kubernetes.pod.namespace": "n",
        "io.kubernetes.pod.uid": "u",
      },
      annotations: { x: "y" },
    });
    expect(config.dnsConfig).toBeUndefined();
    expect(config.linux?.cgroupParent).toBe("");
    expect(config.linux?.securityContext?.seccomp?.profileType).toBe(
      SecurityProfile_ProfileType.RuntimeDefault,
    );
  });

  test.each([
    ["", NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.CONTAINER],
    ["shareProcessNamespace: true", NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD],
    ["hostPID: true", NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.NODE],
    ["hostIPC: true", NamespaceMode.POD, NamespaceMode.NODE, NamespaceMode.CONTAINER],
    ["hostNetwork: true", NamespaceMode.NODE, NamespaceMode.POD, NamespaceMode.CONTAINER],
  ])("with %p has the namespaces asked for, its containers too", (fields, network, ipc, pid) => {
    const expected = { network, ipc, pid };
    const options = sandbox(`{${fields === "" ? "" : `${fields}, `}containers: [{name: a, image: b}]}`);
    expect(options.linux?.securityContext?.namespaceOptions).toMatchObject(expected);
    expect(container("tty: false", fields).linux?.securityContext?.namespaceOptions).toMatchObject(expected);
  });

  test("in the host's network has neither a name nor port mappings", () => {
    const ports = "ports: [{containerPort: 80, hostPort: 80}]";
    const own = sandbox(`{containers: [{name: a, image: b, ${ports}}]}`);
    expect(own.portMappings).toMatchObject([{ protocol: 0, containerPort: 80, hostPort: 80, hostIp: "" }]);
    const host = sandbox(`{hostNetwork: true, containers: [{name: a, image: b, ${ports}}]}`);
    expect(host).toMatchObject({ hostname: "", portMappings: [] });
  });

  test("has a host name of 63 characters at most", () => {
    const name = `${"a".repeat(62)}-${"b".repeat(20)}`;
    const config = sandboxConfig(pod("{containers: [{name: a, image: b}]}", `{name: ${name}}`), 0, home);
    expect(config.hostname).toBe("a".repeat(62));
  });

  test("adds dnsConfig to the host's settings, and with None has only that", () => {
    const dns =
      "dnsConfig: {nameservers: [192.0.2.9], searches: [x.y], options: [{name: ndots, value: '5'}, {name: edns0}]}";
    const spec = (policy: string) =>
      sandbox(`{dnsPolicy: ${policy}, ${dns}, containers: [{name: a, image: b}]}`).dnsConfig;
    expect(spec("Default")).toMatchObject({
      servers: ["192.0.2.1", "192.0.2.9"],
      searches: ["example.com", "x.y"],
      options: ["rotate", "ndots:5", "edns0"],
    });
    expect(spec("None")).toMatchObject({
      servers: ["192.0.2.9"],
      searches: ["x.y"],
      options: ["ndots:5", "edns0"],
    });
  });

  test("has all of /proc where it is to, in a user namespace of its own", () => {
    const own = container("securityContext: {procMount: Unmasked}", "hostUsers: false").linux
      ?.securityContext;
    expect([own?.maskedPaths, own?.readonlyPaths]).toEqual([[], []]);
    expect(container("").linux?.securityContext?.maskedPaths).toContain("/proc/kcore");
  });

  test("is called what it is to be called instead, and not below it", () => {
    const named = sandbox(
      "{hostname: h, subdomain: s, hostnameOverride: other.example, containers: [{name: a, image: b}]}",
    );
    expect(named.hostname).toBe("other.example");
  });

  test("asks the name server of its network, where there is one, for names of pods first", () => {
    const dns = (fields: string, server: string | undefined) =>
      sandboxConfig(
        pod(`{${fields} containers: [{name: a, image: b}]}`, "{name: p, namespace: n, uid: u}"),
        0,
        {
          ...home,
          nameServer: () => server,
        },
      ).dnsConfig;
    const own = {
      servers: ["10.85.0.1"],
      searches: ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"],
      options: ["ndots:5"],
    };
    expect(dns("", "10.85.0.1")).toMatchObject(own);
    expect(dns("dnsPolicy: ClusterFirst,", "10.85.0.1")).toMatchObject(own);
    expect(
      dns("dnsConfig: {options: [{name: ndots, value: '1'}], searches: [x.y]},", "10.85.0.1"),
    ).toMatchObject({
      ...own,
      searches: [...own.searches, "x.y"],
      options: ["ndots:1"],
    });
    for (const fields of [
      "hostNetwork: true,",
      "dnsPolicy: Default,",
      "dnsPolicy: ClusterFirstWithHostNet,",
    ]) {
      expect(dns(fields, "10.85.0.1")).toBeUndefined();
    }
    expect(dns("", undefined)).toBeUndefined();
  });

  test("has the sysctls with dots and the users of the pod", () => {
    const context =
      "{runAsUser: 5, runAsGroup: 6, fsGroup: 7, supplementalGroups: [8], sysctls: [{name: net/core/somaxconn, value: '9'}]}";
    const { linux } = sandbox(`{securityContext: ${context}, containers: [{name: a, image: b}]}`);
    expect(linux?.sysctls).toEqual({ "net.core.somaxconn": "9" });
    expect(linux?.securityContext).toMatchObject({
      runAsUser: { value: 5n },
      runAsGroup: { value: 6n },
      supplementalGroups: [8n, 7n],
      privileged: false,
    });
  });
});

test("a sandbox has what its containers and sidecars need together, or one init container more than that", () => {
  const limits = (cpu: number, memory: number) => `resources: {limits: {cpu: ${cpu}, memory: ${memory}}}`;
  const spec = (step: string) =>
    `{initContainers: [{name: s, image: b, restartPolicy: Always, ${limits(1, 1000)}, ports: [{containerPort: 1, hostPort: 9}]},
      {name: i, image: b, ${step}}], containers: [{name: a, image: b, ${limits(2, 2000)}}]}`;
  const resources = (step: string) => sandbox(spec(step)).linux?.resources;
  expect(resources(limits(1, 500))).toMatchObject({ cpuQuota: 300_000n, memoryLimitInBytes: 3000n });
  expect(resources(limits(4, 5000))).toMatchObject({ cpuQuota: 500_000n, memoryLimitInBytes: 6000n });
  expect(resources("")).toMatchObject({ cpuQuota: 0n, memoryLimitInBytes: 0n });
  expect(sandbox(spec("")).portMappings).toMatchObject([{ hostPort: 9 }]);
});

test("resources of a whole pod are its sandbox's limits, and its containers' where they have none", () => {
  const spec = (own: string, first = "", second = "") =>
    `{resources: {${own}}, initContainers: [{name: i, image: b}], containers: [{name: a, image: b, ${first}}, {name: b, image: b, ${second}}]}`;
  const sandboxOf = (...parts: [string, string?, string?]) => sandbox(spec(...parts)).linux?.resources;
  const containersOf = (...parts: [string, string?, string?]) => {
    const parsed = pod(spec(...parts));
    return parsed.spec.containers.map(
      (one) => containerConfig(parsed, one, 0, image, home, { addresses: [] }).linux?.resources,
    );
  };
  const limits = "limits: {cpu: 2, memory: 3Gi, hugepages-2Mi: 4Mi}";
  const asked = "resources: {requests: {cpu: 500m, memory: 1Gi}}";
  const limited = "resources: {limits: {cpu: 1, memory: 1Gi}}";
  const whole = {
    cpuQuota: 200_000n,
    memoryLimitInBytes: 3n << 30n,
    hugepageLimits: [{ pageSize: "2MB", limit: 4n << 20n }],
  };
  // Requests of the whole pod are its containers', or else its limits.
  expect(sandboxOf(limits)).toMatchObject({ ...whole, cpuShares: 2048n });
  expect(sandboxOf(limits, asked, limited)).toMatchObject({ ...whole, cpuShares: 1536n });
  expect(sandboxOf(`requests: {cpu: 1500m}, ${limits}`, asked)).toMatchObject({ ...whole, cpuShares: 1536n });
  // What the pod does not say its containers do.
  const both = `containers: [{name: a, image: b, ${limited}}, {name: b, image: b, ${limited}}]`;
  expect(sandbox(`{resources: {limits: {cpu: 3}}, ${both}}`).linux?.resources).toMatchObject({
    cpuQuota: 300_000n,
    memoryLimitInBytes: 2n << 30n,
  });
  expect(containersOf(limits, limited)).toMatchObject([
    { cpuQuota: 100_000n, cpuShares: 1024n, memoryLimitInBytes: 1n << 30n },
    { ...whole, cpuShares: 2048n },
  ]);
  const scores = (...parts: [string, string?, string?]) =>
    containersOf(...parts).map((resources) => resources?.oomScoreAdj);
  // Its own amounts alone decide on its class: Guaranteed, Burstable or neither.
  expect(scores("limits: {cpu: 2, memory: 3Gi}")).toEqual([-997n, -997n]);
  expect(scores("limits: {cpu: 2, memory: 2Gi}, requests: {cpu: 1, memory: 1536Mi}")).toEqual([938n, 938n]);
  expect(scores("limits: {hugepages-2Mi: 4Mi}")).toEqual([1000n, 1000n]);
  expect(scores("limits: {hugepages-2Mi: 4Mi}", limited)).toEqual([875n, 999n]);
  // Of 8 GiB each of three containers gets a third of what the pod requests beyond them.
  expect(scores("requests: {memory: 4Gi}", asked)).toEqual([750n, 875n]);
});

describe("a container", () => {
  test("is named, logged and labelled as a kubelet does it", () => {
    const config = container("stdin: true, stdinOnce: true, tty: true, workingDir: /w");
    expect(toJson(ContainerConfigSchema, config)).toMatchObject({
      metadata: { name: "a", attempt: 2 },
      image: { image: "sha256:1", userSpecifiedImage: "nginx" },
      logPath: "a/2.log",
      workingDir: "/w",
      stdin: true,
      stdinOnce: true,
      tty: true,
      labels: { "io.kubernetes.container.name": "a", "io.kubernetes.pod.uid": "u" },
    });
    expect(config.annotations["io.kubernetes.container.restartCount"]).toBe("2");
    const ports = container("ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}]");
    expect(JSON.parse(ports.annotations["io.kubernetes.container.ports"]!)).toEqual([
      { containerPort: 80, name: "http", protocol: "TCP" },
      { containerPort: 53, protocol: "UDP" },
    ]);
    expect(namedPorts(ports.annotations)).toEqual([{ name: "http", number: 80, protocol: "TCP" }]);
    for (const text of ["", "{", "[1]", '[{"name": 1, "containerPort": 2}]'])
      expect(namedPorts({ "io.kubernetes.container.ports": text })).toEqual([]);
  });

  test("expands $(NAME) with the variables before it, and keeps what is unknown or escaped", () => {
    const config = container(
      "env: [{name: A, value: $(B)}, {name: B, value: x}, {name: C, value: '$(B)$(B)$$(B)'}], command: [$(C), $(NONE), $B, $$, '$('], args: ['$(A)']",
    );
    const values = config.envs.map(({ key, value }) => `${key}=${new TextDecoder().decode(value)}`);
    expect(values).toEqual(["A=$(B)", "B=x", "C=xx$(B)"]);
    expect(config.command).toEqual(["xx$(B)", "$(NONE)", "$B", "$", "$("]);
    expect(config.args).toEqual(["$(B)"]);
  });

  test("mounts its volumes, the pod's hosts file and one for its last words, unless a volume is there", () => {
    const volumes = "volumes: [{name: e, emptyDir: {}}, {name: h, hostPath: {path: /srv}}]";
    const mounts = (list: string) => container(`volumeMounts: [${list}]`, volumes).mounts;
    expect(
      mounts(
        "{name: e, mountPath: /e}, {name: h, mountPath: /h, readOnly: true, mountPropagation: HostToContainer}",
      ),
    ).toMatchObject([
      {
        containerPath: "/e",
        hostPath: "/var/lib/podrt/pods/u/volumes/empty-dir/e",
        readonly: false,
        propagation: 0,
        selinuxRelabel: true,
      },
      { containerPath: "/h", hostPath: "/srv", readonly: true, propagation: 1, selinuxRelabel: false },
      { containerPath: "/etc/hosts", hostPath: "/var/lib/podrt/pods/u/etc-hosts", selinuxRelabel: true },
      { containerPath: "/dev/termination-log", hostPath: "/var/lib/podrt/pods/u/termination/a/2" },
    ]);
    expect(mounts("{name: h, mountPath: /etc/hosts/}")).toHaveLength(2);
  });

  test("is confined by default, and not when privileged", () => {
    const confined = container("tty: false").linux?.securityContext;
    expect(confined?.maskedPaths).toContain("/proc/kcore");
    expect(confined?.maskedPaths).toContain("/sys/devices/system/cpu/cpu0/thermal_throttle");
    expect(confined?.readonlyPaths).toContain("/proc/sys");
    expect(confined?.seccomp?.profileType).toBe(SecurityProfile_ProfileType.RuntimeDefault);
    expect(confined?.noNewPrivs).toBe(false);
    const privileged = container("securityContext: {privileged: true}").linux?.securityContext;
    expect(privileged).toMatchObject({ privileged: true, maskedPaths: [], readonlyPaths: [] });
  });

  test("has its own security settings before the pod's", () => {
    const context = container(
      "securityContext: {runAsUser: 1, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {add: [NET_ADMIN], drop: [ALL]}, seccompProfile: {type: Localhost, localhostProfile: a/b.json}}",
      "securityContext: {runAsUser: 2, runAsGroup: 3, seccompProfile: {type: Unconfined}, supplementalGroupsPolicy: Strict}",
    ).linux?.securityContext;
    expect(context).toMatchObject({
      runAsUser: { value: 1n },
      runAsGroup: { value: 3n },
      noNewPrivs: true,
      readonlyRootfs: true,
      capabilities: { addCapabilities: ["NET_ADMIN"], dropCapabilities: ["ALL"] },
      seccomp: {
        profileType: SecurityProfile_ProfileType.Localhost,
        localhostRef: "/var/lib/podrt/seccomp/a/b.json",
      },
      supplementalGroupsPolicy: 1,
    });
  });

  test.each([
    ["tty: false", { cpuShares: 2n, cpuQuota: 0n, memoryLimitInBytes: 0n, oomScoreAdj: 1000n }],
    [
      "resources: {limits: {cpu: 500m, memory: 128Mi}}",
      {
        cpuShares: 512n,
        cpuQuota: 50_000n,
        cpuPeriod: 100_000n,
        memoryLimitInBytes: 134_217_728n,
        oomScoreAdj: -997n,
      },
    ],
    [
      "resources: {requests: {cpu: 1m, memory: 2Gi}, limits: {cpu: 2m}}",
      { cpuShares: 2n, cpuQuota: 1000n, memoryLimitInBytes: 0n, oomScoreAdj: 750n },
    ],
    ["resources: {requests: {cpu: 2}}", { cpuShares: 2048n, cpuQuota: 0n, oomScoreAdj: 999n }],
    ["resources: {requests: {memory: 8Gi}}", { oomScoreAdj: 3n }],
    [
      "resources: {limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}",
      { hugepageLimits: [{ pageSize: "2MB", limit: 4_194_304n }] },
    ],
  ])("with %p has the limits a kubelet would ask for", (fields, expected) => {
    expect(container(fields).linux?.resources).toMatchObject(expected);
  });

  test("has the stop signal of its manifest", () => {
    expect(container("lifecycle: {stopSignal: SIGQUIT}").stopSignal).toBe(Signal.SIGQUIT);
    expect(container("lifecycle: {stopSignal: SIGRTMIN+3}").stopSignal).toBe(Signal.SIGRTMINPLUS3);
    expect(container("tty: false").stopSignal).toBe(0);
  });
});
