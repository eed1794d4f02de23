// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import { hostTree, importHostile } from "./harness/hostile.ts";
import {
  containerInfo,
  createContainer,
  runContainer,
  runSandbox,
  type SandboxConfig,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

/*
 * Text that becomes part of something else: names of kernel settings (CVE-2022-0811), paths of cgroups, lines of
 * generated files (CVE-2024-5154), annotations. What could break out of its place is refused by its field.
 */

const fixture = useDaemon();

const refusedPod = async (config: object): Promise<ConnectError> => {
  const sandbox = runSandbox(fixture.daemon, `bad-${Math.random()}`, config as SandboxConfig);
  return sandbox.then(
    (id) => {
      throw new Error(`sandbox ${id} was made of ${JSON.stringify(config)}`);
    },
    (error) => ConnectError.from(error),
  );
};

describe("a kernel setting", () => {
  const corePattern = () => procText("/proc/sys/kernel/core_pattern");
  let before: string;
  beforeAll(() => {
    before = corePattern();
  });

  test.each([
    ["kernel.core_pattern", "|/bin/sh"],
    ["kernel/core_pattern", "|/bin/sh"],
    ["net/../kernel/core_pattern", "x"],
    ["net.ipv4../../../kernel.core_pattern", "x"],
    ["net//kernel", "x"],
    ["net.ipv4.ip_forward\0", "1"],
    ["net.ipv4.ip_forward=1\nkernel.core_pattern", "x"],
    ["kernel.shm_rmid_forced+kernel.core_pattern", "1"],
    ["kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/sh"],
    ["net.ipv4.ip_local_port_range", "1\n2"],
    ["fs.mqueue/../suid_dumpable", "2"],
    ["kernel.msg/../core_pattern", "x"],
    ["vm.overcommit_memory", "1"],
    ["kernel.sem_next_id.", "1"],
    ["", "1"],
  ])("%p = %p changes nothing of the host's", async (name, value) => {
    const error = await refusedPod({ linux: { sysctls: { [name]: value } } });
    // A value that only the kernel can judge is refused by it, in the pod's own namespace.
    const isKernels = name === "kernel.shm_rmid_forced";
    expect(error.code).toBe(isKernels ? Code.Internal : Code.InvalidArgument);
    expect(error.rawMessage).toContain(isKernels ? "sysctl kernel/shm_rmid_forced" : "config.linux.sysctls");
    expect(corePattern()).toBe(before);
  });
});

describe("a cgroup parent", () => {
  test.each(["/../..", "../x", "/podrt/../../x", "/a/./../../b", "/x\ny", "/x\0y", `/${"x".repeat(256)}`])(
    "%p is refused",
    async (cgroupParent) => {
      const groups = readdirSync("/sys/fs/cgroup");
      const error = await refusedPod({ linux: { cgroupParent } });
      expect(error).toMatchObject({ code: Code.InvalidArgument });
      expect(error.rawMessage).toContain("cgroup_parent");
      expect(readdirSync("/sys/fs/cgroup")).toEqual(groups);
    },
  );

  test.each(["system.slice", "a-b.slice:ExecStart=/bin/sh"])(
    "the systemd unit %p is not asked for",
    async (cgroupParent) => {
      const asked = await runSandbox(fixture.daemon, "unit", {
        linux: { cgroupParent },
      } as SandboxConfig).then(
        async (podSandboxId) => {
          await fixture.daemon.api.removePodSandbox({ podSandboxId });
          return "made as a path";
        },
        (error) => ConnectError.from(error).rawMessage,
      );
      // The second is no unit's name: it is a directory's, and steers nothing.
      expect(asked).toMatch(/is the slice .*, and podrt's cgroup driver is cgroupfs|^made as a path$/);
    },
  );
});

describe("text that becomes a line of a generated file", () => {
  test.each([
    ["hostname", { hostname: "pod\n192.0.2.1 registry.example" }],
    ["hostname", { hostname: "../../etc" }],
    ["dns_config.searches[0]", { dnsConfig: { searches: ["example\nnameserver 192.0.2.1"] } }],
    ["dns_config.searches[0]", { dnsConfig: { searches: ["example nameserver"] } }],
    ["dns_config.servers[0]", { dnsConfig: { servers: ["192.0.2.1\noptions debug"] } }],
    ["dns_config.options[0]", { dnsConfig: { options: ["ndots:1\rnameserver 192.0.2.1"] } }],
    ["log_directory", { logDirectory: "/var/log/../../etc" }],
  ])("is refused as %s", async (field, config) => {
    const error = await refusedPod(config);
    expect(error).toMatchObject({ code: Code.InvalidArgument });
    expect(error.rawMessage).toContain(field);
  });

  test("is a home from the image's passwd only where it is one line and a path", async () => {
    const { daemon } = fixture;
    const pod = await runSandbox(daemon, "home");
    const passwd = [
      "tab:x:1:1::/a\tb:/x",
      "cr:x:2:2::/a\rLD_PRELOAD=/x:/x",
      "relative:x:3:3::../etc:/x",
      "good:x:4:4::/home/good:/x",
    ];
    const layers = [[{ name: "etc/passwd", content: `${passwd.join("\n")}\n` }]];
    for (const [name, home] of [
      ["tab", "/"],
      ["cr", "/"],
      ["relative", "/"],
      ["good", "/home/good"],
    ] as const) {
      const image = await importHostile(daemon, `home-${name}`, { layers, run: { User: name } });
      const id = await runContainer(daemon, pod, { name: `home-${name}`, image: { image } });
      expect(await shellIn(daemon, id, "tr '\\0' '\\n' </proc/1/environ | grep -E '^(HOME|LD_)'")).toBe(
        `HOME=${home}`,
      );
    }
  });
});

test("an image whose /etc leads elsewhere has its files made inside, or is refused", async () => {
  const { daemon } = fixture;
  const before = hostTree();
  const pod = await runSandbox(daemon, "linked-etc");
  const places = [
    "../..",
    "/../../../srv",
    "/proc/self/root/etc",
    "/proc/1/root/etc",
    "/new/place",
    "etc",
    "/dev",
  ];
  for (const [index, linkName] of places.entries()) {
    const name = `etc-${index}`;
    const image = await importHostile(daemon, name, {
      layers: [
        [{ name: ".wh.etc" }],
        [
          { name: "etc", type: "2", linkName },
          { name: "srv/", type: "5" },
        ],
      ],
    });
    const id = await createContainer(daemon, pod, { name, image: { image } });
    const problem = await daemon.api.startContainer({ containerId: id }).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (problem === undefined) expect(await shellIn(daemon, id, "cat /etc/hostname")).not.toBe("");
    else expect(problem).toMatch(/: E(LOOP|NOENT|NOTDIR|EXIST)/);
  }
  for (const [index, linkName] of [
    "/etc/shadow",
    "../../../../etc/cron.d/evil",
    "/proc/self/environ",
    "hosts",
  ].entries()) {
    const name = `hosts-${index}`;
    const image = await importHostile(daemon, name, {
      layers: [
        ["hosts", "hostname", "resolv.conf"].map((file) => ({ name: `etc/${file}`, type: "2", linkName })),
      ],
    });
    const id = await createContainer(daemon, pod, { name, image: { image } });
    await daemon.api.startContainer({ containerId: id }).catch((error: Error) => {
      expect(error.message).toMatch(/: E(LOOP|NOENT|NOTDIR|EXIST)/);
    });
  }
  expect(existsSync("/etc/cron.d/evil")).toBe(false);
  expect(hostTree()).toEqual(before);
});

test("annotations steer nothing: a pod and a container with those of other runtimes are like one without", async () => {
  const { daemon } = fixture;
  const annotations = {
    "io.kubernetes.cri-o.userns-mode": "auto:size=65536",
    "io.kubernetes.cri-o.Devices": "/dev/kmsg:/dev/kmsg:rwm",
    "io.kubernetes.cri-o.ShmSize": "1Gi",
    "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel": "true",
    "org.systemd.property.TimeoutStopUSec": "uint64 1",
    "run.oci.keep_original_groups": "1",
    "run.oci.mount_context_type": "x",
    "podrt.privileged": "true",
    "a.b": "line\nline",
  };
  const linux = { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } };
  const specs: unknown[] = [];
  for (const [index, given] of [annotations, {}].entries()) {
    const pod = await runSandbox(daemon, `annotated-${index}`, {
      annotations: given,
      linux,
    } as SandboxConfig);
    const id = await runContainer(daemon, pod, { name: "app", annotations: given });
    const info = (await containerInfo(daemon, id))["runtimeSpec"] as {
      annotations: object;
      hostname: string;
    };
    expect(info.annotations).toEqual(given);
    const neutral = JSON.stringify({ ...info, annotations: {} })
      .replaceAll(id, "ID")
      .replaceAll(pod, "POD");
    specs.push(JSON.parse(neutral.replaceAll(/\/proc\/\d+\//g, "/proc/PAUSE/")));
  }
  expect(specs[0]).toEqual(specs[1]);
});
