// SPDX-License-Identifier: Apache-2.0
import { describe } from "bun:test";
import { check, metadata, sandbox, verdict } from "../../test/fixtures/request-verdict.ts";
import { NamespaceMode, RunPodSandboxRequestSchema } from "../gen/runtime/v1/api_pb.ts";

describe("a sandbox", () => {
  check([
    [
      "needs a config",
      () => verdict(RunPodSandboxRequestSchema, {}),
      ["InvalidArgument", "config: must be set"],
    ],
    [
      "needs metadata",
      () => verdict(RunPodSandboxRequestSchema, { config: {} }),
      ["InvalidArgument", "config.metadata: must be set"],
    ],
    ["of metadata alone is accepted", () => sandbox({})],
    [
      "needs a name",
      () => sandbox({ metadata: { ...metadata, name: "" } }),
      ["InvalidArgument", "config.metadata.name: must not be empty"],
    ],
    [
      "needs a namespace",
      () => sandbox({ metadata: { ...metadata, namespace: "" } }),
      ["InvalidArgument", "config.metadata.namespace: must not be empty"],
    ],
    [
      "needs a uid",
      () => sandbox({ metadata: { ...metadata, uid: "" } }),
      ["InvalidArgument", "config.metadata.uid: must not be empty"],
    ],
    ["may have a name of 253 bytes", () => sandbox({ metadata: { ...metadata, name: "n".repeat(253) } })],
    [
      "may not have a longer name",
      () => sandbox({ metadata: { ...metadata, name: "n".repeat(254) } }),
      ["InvalidArgument", "config.metadata.name: must not exceed 253 bytes"],
    ],
    [
      "may not have a path for a name",
      () => sandbox({ metadata: { ...metadata, name: "../etc" } }),
      ["InvalidArgument", "config.metadata.name: must not contain a slash"],
    ],
    [
      "may not have a NUL in its name",
      () => sandbox({ metadata: { ...metadata, name: "a\0b" } }),
      ["InvalidArgument", "config.metadata.name: must not contain a NUL byte"],
    ],
    [
      "may not have a line break in its name",
      () => sandbox({ metadata: { ...metadata, name: "a\nb" } }),
      ["InvalidArgument", "config.metadata.name: must not contain control characters"],
    ],
    ["may have the handler podrt", () => sandbox({}, "podrt")],
    [
      "may not have another handler",
      () => sandbox({}, "gvisor"),
      ["InvalidArgument", 'runtime_handler: there is no runtime handler "gvisor"'],
    ],
    [
      "may not have a host name of more than 64 bytes",
      () => sandbox({ hostname: "h".repeat(65) }),
      ["InvalidArgument", "config.hostname: must not exceed 64 bytes"],
    ],
    [
      "may not have spaces in its host name",
      () => sandbox({ hostname: "a b" }),
      ["InvalidArgument", "config.hostname: must be made of letters"],
    ],
    [
      "needs an absolute log directory",
      () => sandbox({ logDirectory: "var/log" }),
      ["InvalidArgument", "config.log_directory: must be an absolute path"],
    ],
    [
      "may not leave its log directory",
      () => sandbox({ logDirectory: "/var/log/../../etc" }),
      ["InvalidArgument", 'config.log_directory: must not contain ".."'],
    ],
    [
      "may not have a path component of more than 255 bytes",
      () => sandbox({ logDirectory: `/${"c".repeat(256)}` }),
      ["InvalidArgument", "config.log_directory: must not have a component of more than 255 bytes"],
    ],
    [
      "may have DNS settings of either family",
      () =>
        sandbox({ dnsConfig: { servers: ["10.0.0.1", "fd00::1"], searches: ["a.b"], options: ["ndots:5"] } }),
    ],
    [
      "needs addresses as DNS servers",
      () => sandbox({ dnsConfig: { servers: ["10.0.0.1", "dns.example"] } }),
      ["InvalidArgument", "config.dns_config.servers[1]: must be an IP address"],
    ],
    [
      "may not smuggle a line into resolv.conf",
      () => sandbox({ dnsConfig: { searches: ["a\nnameserver 1.2.3.4"] } }),
      ["InvalidArgument", "config.dns_config.searches[0]: must not contain control characters"],
    ],
    [
      "may not have two words in one DNS option",
      () => sandbox({ dnsConfig: { options: ["ndots:5 debug"] } }),
      ["InvalidArgument", "config.dns_config.options[0]: must not contain spaces"],
    ],
    ["may name a container port alone", () => sandbox({ portMappings: [{ containerPort: 80 }] })],
    [
      "needs a container port for a host port",
      () => sandbox({ portMappings: [{ hostPort: 80 }] }),
      ["InvalidArgument", "config.port_mappings[0].container_port: must be between 1 and 65535, but is 0"],
    ],
    [
      "may not have a host port above 65535",
      () => sandbox({ portMappings: [{ containerPort: 80, hostPort: 65_536 }] }),
      ["InvalidArgument", "config.port_mappings[0].host_port: must be between 0 and 65535"],
    ],
    [
      "may not map a host port twice",
      () =>
        sandbox({
          portMappings: [
            { containerPort: 80, hostPort: 8080 },
            { containerPort: 81, hostPort: 8080 },
          ],
        }),
      ["InvalidArgument", "config.port_mappings[1].host_port: 8080 is already mapped by entry 0"],
    ],
    [
      "may map a host port once for each protocol",
      () =>
        sandbox({
          portMappings: [
            { containerPort: 53, hostPort: 53, protocol: 0 },
            { containerPort: 53, hostPort: 53, protocol: 1 },
          ],
        }),
    ],
    [
      "in the host's network has its ports there, whatever maps them",
      () =>
        sandbox({
          portMappings: Array(2).fill({ containerPort: 80, hostPort: 80, hostIp: "::" }),
          linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
        }),
    ],
    [
      "may not have an unknown protocol",
      () => sandbox({ portMappings: [{ protocol: 3 as never }] }),
      ["InvalidArgument", "config.port_mappings[0].protocol: 3 is no value of Protocol"],
    ],
    ["may have 256 KiB of annotations", () => sandbox({ annotations: { a: "x".repeat(262_143) } })],
    [
      "may not have a megabyte of annotations",
      () => sandbox({ annotations: { a: "x".repeat(262_144), b: "x".repeat(262_144) } }),
      ["InvalidArgument", "config.annotations: must not exceed"],
    ],
    [
      "may not have more than 256 KiB of labels",
      () =>
        sandbox({
          labels: Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`a${n}`, "x".repeat(4096)])),
        }),
      ["InvalidArgument", "config.labels: must not exceed 262144 bytes together"],
    ],
    [
      "may have labels as the kubelet gives them",
      () => sandbox({ labels: { "io.kubernetes.pod.name": "x".repeat(253), "a.b/c_D.e-f": "", 7: "ü x" } }),
    ],
    ...["a b", "/a", "a/", "a/b/c", ".a", "a-", "ä", "x".repeat(64), `${"x".repeat(254)}/a`].map(
      (key) =>
        [
          `may not have a label named ${key.slice(0, 10)}`,
          () => sandbox({ labels: { [key]: "" } }),
          ["InvalidArgument", "config.labels: must have keys as in app or example.com/app, but has"],
        ] as const,
    ),
    [
      "may not have a label of two lines",
      () => sandbox({ labels: { a: "b\nc" } }),
      ["InvalidArgument", "config.labels[a]: must not contain control characters"],
    ],
    [
      "may not have a label of a page and more",
      () => sandbox({ labels: { a: "x".repeat(4097) } }),
      ["InvalidArgument", "config.labels[a]: must not exceed 4096 bytes, but has 4097"],
    ],
    [
      "may not be for Windows",
      () => sandbox({ windows: {} }),
      ["Unimplemented", "config.windows: Windows pods are not supported yet"],
    ],
    ["may have a cgroup parent", () => sandbox({ linux: { cgroupParent: "/kubepods/burstable/pod1" } })],
    ["may have a slice as cgroup parent", () => sandbox({ linux: { cgroupParent: "kubepods.slice" } })],
    [
      "may not have a cgroup parent that leaves the tree",
      () => sandbox({ linux: { cgroupParent: "/../../etc" } }),
      ["InvalidArgument", 'config.linux.cgroup_parent: must not contain ".."'],
    ],
    [
      "may set what the kernel keeps per pod, in either spelling",
      () =>
        sandbox({
          linux: {
            sysctls: {
              "net.ipv4.ip_forward": "1",
              "net/ipv4/conf/eth0.100/forwarding": "1",
              "kernel.shm_rmid_forced": "1",
              "kernel.msgmax": "8192",
              "kernel.sem": "250 32000 32 128",
              "fs.mqueue.msg_max": "10",
            },
          },
        }),
    ],
    [
      "may not set what belongs to the machine",
      () => sandbox({ linux: { sysctls: { "kernel.hostname": "x" } } }),
      ["InvalidArgument", "config.linux.sysctls[kernel.hostname]: is not kept per pod"],
    ],
    [
      "may not set a setting outside of its tree",
      () => sandbox({ linux: { sysctls: { "net/../kernel/core_pattern": "x" } } }),
      ["InvalidArgument", "config.linux.sysctls[net/../kernel/core_pattern]: is no name"],
    ],
    [
      "in the host's network may not set net",
      () =>
        sandbox({
          linux: {
            sysctls: { "net.core.somaxconn": "1" },
            securityContext: { namespaceOptions: { network: NamespaceMode.NODE } },
          },
        }),
      ["InvalidArgument", "config.linux.sysctls[net.core.somaxconn]: would change the host"],
    ],
    [
      "with the host's IPC may not set kernel.shm",
      () =>
        sandbox({
          linux: {
            sysctls: { "kernel.shmmax": "1" },
            securityContext: { namespaceOptions: { ipc: NamespaceMode.NODE } },
          },
        }),
      ["InvalidArgument", "config.linux.sysctls[kernel.shmmax]: would change the host"],
    ],
  ]);
});
