// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type ErrorKind, PodrtError } from "../errors.ts";
import {
  type ContainerConfigSchema,
  CreateContainerRequestSchema,
  ExecSyncRequestSchema,
  ImageStatusRequestSchema,
  ListContainersRequestSchema,
  MountPropagation,
  NamespaceMode,
  type PodSandboxConfigSchema,
  PodSandboxStatusRequestSchema,
  SecurityProfile_ProfileType as ProfileType,
  PullImageRequestSchema,
  RunPodSandboxRequestSchema,
  Signal,
  StopContainerRequestSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { validateRequest } from "./validate.ts";

type SandboxInit = MessageInitShape<typeof PodSandboxConfigSchema>;
type ContainerInit = MessageInitShape<typeof ContainerConfigSchema>;
type Linux<T> = T extends { linux?: infer L } ? NonNullable<L> : never;
/** What a request gives: undefined when it is accepted, otherwise the kind of error and its sentence. */
type Verdict = readonly [ErrorKind, string] | undefined;

function verdict<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Verdict {
  try {
    validateRequest(schema, create(schema, init));
    return undefined;
  } catch (error) {
    if (!(error instanceof PodrtError)) throw error;
    return [error.kind, error.message];
  }
}

const metadata = { name: "pod", namespace: "default", uid: "8f0c" };

function sandbox(config: SandboxInit, runtimeHandler = ""): Verdict {
  return verdict(RunPodSandboxRequestSchema, {
    config: { metadata, ...config } as SandboxInit,
    runtimeHandler,
  });
}

function sandboxSecurity(securityContext: Linux<SandboxInit>["securityContext"]): Verdict {
  return sandbox({ linux: { securityContext } as Linux<SandboxInit> });
}

function container(config: ContainerInit): Verdict {
  return verdict(CreateContainerRequestSchema, {
    podSandboxId: "a".repeat(64),
    config: { metadata: { name: "app" }, image: { image: "sha256:00" }, ...config } as ContainerInit,
  });
}

function containerSecurity(securityContext: Linux<ContainerInit>["securityContext"]): Verdict {
  return container({ linux: { securityContext } as Linux<ContainerInit> });
}

function resources(limits: Linux<ContainerInit>["resources"]): Verdict {
  return container({ linux: { resources: limits } as Linux<ContainerInit> });
}

const security = "config.linux.security_context";
const limits = "config.linux.resources";

/** Each row: a name, what was found, and the kind and beginning of the sentence expected (none: accepted). */
type Row = readonly [string, () => Verdict, (readonly [ErrorKind, string])?];

function check(rows: readonly Row[]): void {
  for (const [name, run, expected] of rows) {
    test(name, () => {
      const found = run();
      if (expected === undefined) return expect(found).toBeUndefined();
      expect(found?.[0]).toBe(expected[0]);
      expect(found?.[1]).toStartWith(expected[1]);
    });
  }
}

describe("what a kubelet asks for is accepted", () => {
  const seccomp = { profileType: ProfileType.RuntimeDefault };
  const usernsOptions = { mode: NamespaceMode.NODE };
  check([
    [
      "as a sandbox",
      () =>
        sandbox({
          hostname: "web-0",
          logDirectory: "/var/log/pods/default_web-0_8f0c",
          dnsConfig: { servers: ["10.96.0.10"], searches: ["svc.cluster.local"], options: ["ndots:5"] },
          portMappings: [{ containerPort: 80, hostPort: 8080, hostIp: "127.0.0.1" }],
          labels: { "io.kubernetes.pod.name": "web-0" },
          annotations: { "kubernetes.io/config.source": "api", note: '{\n  "a": 1\n}' },
          linux: {
            cgroupParent: "/kubepods/burstable/pod8f0c",
            overhead: {},
            resources: { cpuPeriod: 100_000n, cpuShares: 102n, memoryLimitInBytes: 134_217_728n },
            securityContext: {
              namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions },
              seccomp,
              supplementalGroups: [2000n],
            },
          },
        }),
    ],
    [
      "as a container",
      () =>
        container({
          metadata: { name: "app", attempt: 3 },
          image: { image: `sha256:${"0".repeat(64)}`, userSpecifiedImage: "nginx:1" },
          args: ["-c", "sleep 1\nexit"],
          envs: [{ key: "KUBERNETES_PORT", value: new TextEncoder().encode("tcp://10.96.0.1:443") }],
          mounts: [
            {
              containerPath: "/var/run/secrets/kubernetes.io/serviceaccount",
              hostPath: "/var/lib/kubelet/pods/8f0c/volumes/kubernetes.io~projected/token",
              readonly: true,
              selinuxRelabel: true,
            },
            {
              containerPath: "/dev/termination-log",
              hostPath: "/var/lib/kubelet/pods/8f0c/containers/app/x",
            },
          ],
          devices: [{ containerPath: "/dev/fuse", hostPath: "/dev/fuse", permissions: "mrw" }],
          logPath: "app/3.log",
          linux: {
            resources: {
              cpuPeriod: 100_000n,
              cpuShares: 2n,
              oomScoreAdj: 1000n,
              memorySwapLimitInBytes: 0n,
              hugepageLimits: [{ pageSize: "1GB", limit: 0n }],
              unified: { "memory.oom.group": "1" },
            },
            securityContext: {
              namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions },
              runAsUser: { value: 1000n },
              runAsGroup: { value: 3000n },
              seccomp,
              maskedPaths: ["/proc/asound", "/sys/devices/virtual/powercap"],
              readonlyPaths: ["/proc/bus"],
              noNewPrivs: true,
            },
          },
        }),
    ],
  ]);
});

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
      "may not have an unknown protocol",
      () => sandbox({ portMappings: [{ protocol: 3 as never }] }),
      ["InvalidArgument", "config.port_mappings[0].protocol: 3 is no value of Protocol"],
    ],
    ["may have 256 KiB of annotations", () => sandbox({ annotations: { a: "x".repeat(262_143) } })],
    [
      "may not have a megabyte of annotations",
      () => sandbox({ annotations: { a: "x".repeat(1_048_576) } }),
      ["InvalidArgument", "config.annotations: must not exceed"],
    ],
    [
      "may not have more than 256 KiB of labels",
      () => sandbox({ labels: { a: "x".repeat(131_072), b: "x".repeat(131_072) } }),
      ["InvalidArgument", "config.labels: must not exceed 262144 bytes together"],
    ],
    [
      "may not be for Windows",
      () => sandbox({ windows: {} }),
      ["Unimplemented", "config.windows: Windows pods are not supported yet"],
    ],
    ["may have a cgroup parent", () => sandbox({ linux: { cgroupParent: "/kubepods/burstable/pod1" } })],
    [
      "may not have a slice as cgroup parent",
      () => sandbox({ linux: { cgroupParent: "kubepods.slice" } }),
      ["Unimplemented", "config.linux.cgroup_parent: systemd slices"],
    ],
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

describe("a sandbox's security context", () => {
  check([
    [
      "may have the namespaces of a pod or of the host",
      () =>
        sandboxSecurity({
          namespaceOptions: {
            network: NamespaceMode.NODE,
            pid: NamespaceMode.CONTAINER,
            ipc: NamespaceMode.POD,
          },
        }),
    ],
    [
      "may not have a network of each container's own",
      () => sandboxSecurity({ namespaceOptions: { network: NamespaceMode.CONTAINER } }),
      ["InvalidArgument", `${security}.namespace_options.network: must be POD or NODE`],
    ],
    [
      "may not have an IPC namespace of a target",
      () => sandboxSecurity({ namespaceOptions: { ipc: NamespaceMode.TARGET } }),
      ["InvalidArgument", `${security}.namespace_options.ipc: must be POD or NODE`],
    ],
    [
      "may not have the processes of a target",
      () => sandboxSecurity({ namespaceOptions: { pid: NamespaceMode.TARGET, targetId: "a" } }),
      ["InvalidArgument", `${security}.namespace_options.pid: TARGET is for containers only`],
    ],
    [
      "may not have an unknown namespace mode",
      () => sandboxSecurity({ namespaceOptions: { pid: 4 as never } }),
      ["InvalidArgument", `${security}.namespace_options.pid: 4 is no value of NamespaceMode`],
    ],
    [
      "may not have a user namespace yet",
      () => sandboxSecurity({ namespaceOptions: { usernsOptions: { mode: NamespaceMode.POD } } }),
      [
        "Unimplemented",
        `${security}.namespace_options.userns_options: user namespaces are not supported yet`,
      ],
    ],
    [
      "may name the host's user namespace",
      () => sandboxSecurity({ namespaceOptions: { usernsOptions: { mode: NamespaceMode.NODE } } }),
    ],
    [
      "may not map users of the host's user namespace",
      () =>
        sandboxSecurity({
          namespaceOptions: { usernsOptions: { mode: NamespaceMode.NODE, uids: [{ length: 1 }] } },
        }),
      ["InvalidArgument", `${security}.namespace_options.userns_options.uids: must be empty`],
    ],
    [
      "may not have a user namespace for each container",
      () => sandboxSecurity({ namespaceOptions: { usernsOptions: { mode: NamespaceMode.CONTAINER } } }),
      ["InvalidArgument", `${security}.namespace_options.userns_options.mode: must be POD or NODE`],
    ],
    [
      "may not have a group without a user",
      () => sandboxSecurity({ runAsGroup: { value: 1n } }),
      ["InvalidArgument", `${security}.run_as_group: must not be set without run_as_user`],
    ],
    ["may have the highest user id", () => sandboxSecurity({ runAsUser: { value: 2n ** 32n - 2n } })],
    [
      "may not have the user id that means none",
      () => sandboxSecurity({ runAsUser: { value: 2n ** 32n - 1n } }),
      ["InvalidArgument", `${security}.run_as_user: must be between 0 and 4294967294`],
    ],
    [
      "may not have a negative supplemental group",
      () => sandboxSecurity({ supplementalGroups: [1n, -1n] }),
      ["InvalidArgument", `${security}.supplemental_groups[1]: must be between 0 and`],
    ],
    [
      "may be confined by AppArmor's default",
      () => sandboxSecurity({ apparmor: { profileType: ProfileType.RuntimeDefault } }),
    ],
    [
      "may not have an AppArmor profile of its own",
      () => sandboxSecurity({ apparmor: { profileType: ProfileType.Localhost, localhostRef: "mine" } }),
      ["FailedPrecondition", `${security}.apparmor: the AppArmor profile "mine" cannot be applied`],
    ],
    ["may have empty SELinux options", () => sandboxSecurity({ selinuxOptions: {} })],
    [
      "may not have SELinux labels",
      () => sandboxSecurity({ selinuxOptions: { level: "s0:c1" } }),
      ["Unimplemented", `${security}.selinux_options: SELinux labels are not supported yet`],
    ],
  ]);
});

describe("a container", () => {
  check([
    ["with a name and an image is accepted", () => container({})],
    [
      "needs a sandbox",
      () => verdict(CreateContainerRequestSchema, { config: {} }),
      ["InvalidArgument", "pod_sandbox_id: must not be empty"],
    ],
    [
      "needs a name",
      () => container({ metadata: { name: "" } }),
      ["InvalidArgument", "config.metadata.name: must not be empty"],
    ],
    [
      "needs an image",
      () => container({ image: { image: "" } }),
      ["InvalidArgument", "config.image.image: must not be empty"],
    ],
    [
      "needs a known runtime handler of its image",
      () => container({ image: { image: "x", runtimeHandler: "kata" } }),
      ["InvalidArgument", 'config.image.runtime_handler: there is no runtime handler "kata"'],
    ],
    [
      "needs a program when it has a command",
      () => container({ command: [""] }),
      ["InvalidArgument", "config.command[0]: must not be empty"],
    ],
    ["may have an argument of 131071 bytes", () => container({ args: ["x".repeat(131_071)] })],
    [
      "may not have a longer argument",
      () => container({ args: ["", "x".repeat(131_072)] }),
      ["InvalidArgument", "config.args[1]: must not exceed 131071 bytes"],
    ],
    [
      "may not have more arguments than execve takes",
      () => container({ args: Array.from({ length: 20 }, () => "x".repeat(131_000)) }),
      ["InvalidArgument", "config: arguments and environment must not exceed"],
    ],
    [
      "may not have a NUL in an argument",
      () => container({ args: ["a\0b"] }),
      ["InvalidArgument", "config.args[0]: must not contain a NUL byte"],
    ],
    ["may have line breaks in arguments", () => container({ args: ["-c", "echo a\necho b\t"] })],
    [
      "may not have a variable without a name",
      () => container({ envs: [{ key: "" }] }),
      ["InvalidArgument", "config.envs[0].key: must not be empty"],
    ],
    [
      "may not have = in the name of a variable",
      () => container({ envs: [{ key: "A=B" }] }),
      ["InvalidArgument", 'config.envs[0].key: must not contain "="'],
    ],
    [
      "may have a variable of any bytes",
      () => container({ envs: [{ key: "A", value: new Uint8Array([195, 182, 10]) }] }),
    ],
    [
      "may not have a variable that is no text",
      () => container({ envs: [{ key: "A", value: new Uint8Array([255]) }] }),
      ["Unimplemented", "config.envs[0].value: values that are not UTF-8 are not supported yet"],
    ],
    [
      "may not have a NUL in a variable",
      () => container({ envs: [{ key: "A", value: new Uint8Array([65, 0]) }] }),
      ["InvalidArgument", "config.envs[0].value: must not contain a NUL byte"],
    ],
    [
      "needs an absolute working directory",
      () => container({ workingDir: "srv" }),
      ["InvalidArgument", "config.working_dir: must be an absolute path"],
    ],
    ["may log below the log directory", () => container({ logPath: "app/0.log" })],
    [
      "may not log outside of the log directory",
      () => container({ logPath: "../../etc/passwd" }),
      ["InvalidArgument", 'config.log_path: must not contain ".."'],
    ],
    [
      "may not log to an absolute path",
      () => container({ logPath: "/etc/passwd" }),
      ["InvalidArgument", "config.log_path: must be relative to log_directory"],
    ],
    ["may have a real-time stop signal", () => container({ stopSignal: Signal.SIGRTMINPLUS3 })],
    [
      "may not have an unknown stop signal",
      () => container({ stopSignal: 4711 as never }),
      ["InvalidArgument", "config.stop_signal: 4711 is no value of Signal"],
    ],
    [
      "may not have CDI devices",
      () => container({ CDIDevices: [{ name: "v/c=n" }] }),
      ["Unimplemented", "config.CDI_devices: CDI devices are not supported yet"],
    ],
    [
      "may not have CDI devices by annotation",
      () => container({ annotations: { "cdi.k8s.io/gpu": "v/c=n" } }),
      ["Unimplemented", "config.annotations[cdi.k8s.io/gpu]: CDI devices are not supported yet"],
    ],
    [
      "may not be for Windows",
      () => container({ windows: {} }),
      ["Unimplemented", "config.windows: Windows containers are not supported yet"],
    ],
  ]);
});

describe("a mount", () => {
  const mount = (fields: NonNullable<ContainerInit["mounts"]>[number]) =>
    container({ mounts: [{ containerPath: "/data", hostPath: "/srv", ...fields } as typeof fields] });
  const at = "config.mounts[0]";
  check([
    ["of a host's directory is accepted", () => mount({})],
    ["may be shared", () => mount({ propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL })],
    [
      "needs a path in the container",
      () => mount({ containerPath: "" }),
      ["InvalidArgument", `${at}.container_path: must not be empty`],
    ],
    [
      "needs an absolute path in the container",
      () => mount({ containerPath: "data" }),
      ["InvalidArgument", `${at}.container_path: must be an absolute path`],
    ],
    [
      "may not leave the container",
      () => mount({ containerPath: "/data/../../etc" }),
      ["InvalidArgument", `${at}.container_path: must not contain ".."`],
    ],
    [
      "may not hide the root",
      () => mount({ containerPath: "//." }),
      ["InvalidArgument", `${at}.container_path: must not be the root`],
    ],
    [
      "needs a path on the host",
      () => mount({ hostPath: "" }),
      ["InvalidArgument", `${at}.host_path: must not be empty`],
    ],
    [
      "may not have an unknown propagation",
      () => mount({ propagation: 3 as never }),
      ["InvalidArgument", `${at}.propagation: 3 is no value of MountPropagation`],
    ],
    [
      "may not be of an image",
      () => mount({ hostPath: "", readonly: true, image: { image: "x" } }),
      ["Unimplemented", `${at}.image: image volumes are not supported yet`],
    ],
    [
      "of an image may not have a path on the host",
      () => mount({ readonly: true, image: { image: "x" } }),
      ["InvalidArgument", `${at}.host_path: must be empty in a mount of an image`],
    ],
    [
      "of an image may not be writable",
      () => mount({ hostPath: "", image: { image: "x" } }),
      ["InvalidArgument", `${at}.readonly: must be true in a mount of an image`],
    ],
    [
      "may not be a part of no image",
      () => mount({ imageSubPath: "etc" }),
      ["InvalidArgument", `${at}.image_sub_path: must not be set without image`],
    ],
    [
      "may not be recursively read-only and writable",
      () => mount({ recursiveReadOnly: true }),
      ["InvalidArgument", `${at}.recursive_read_only: must not be set without readonly`],
    ],
    [
      "may not be recursively read-only yet",
      () => mount({ recursiveReadOnly: true, readonly: true }),
      ["Unimplemented", `${at}.recursive_read_only: recursive read-only mounts are not supported yet`],
    ],
    [
      "may not be idmapped by user",
      () => mount({ uidMappings: [{ length: 1 }] }),
      ["Unimplemented", `${at}.uidMappings: idmapped mounts are not supported yet`],
    ],
    [
      "may not be idmapped by group",
      () => mount({ gidMappings: [{ length: 1 }] }),
      ["Unimplemented", `${at}.gidMappings: idmapped mounts are not supported yet`],
    ],
    [
      "may not have options",
      () => mount({ mountOptions: ["noexec"] }),
      ["Unimplemented", `${at}.mount_options: mount options are not supported yet`],
    ],
  ]);
});

describe("a device", () => {
  const device = (permissions: string, containerPath = "/dev/fuse", hostPath = "/dev/fuse") =>
    container({ devices: [{ hostPath, containerPath, permissions }] });
  const at = "config.devices[0]";
  const refusal = ["InvalidArgument", `${at}.permissions: must be made of r, w and m`] as const;
  check([
    ["may be used in every way", () => device("mrw")],
    ["needs permissions", () => device(""), refusal],
    ["may not be executed", () => device("rx"), refusal],
    ["may not be read twice", () => device("rr"), refusal],
    [
      "needs an absolute path in the container",
      () => device("r", "fuse"),
      ["InvalidArgument", `${at}.container_path: must be an absolute path`],
    ],
    [
      "needs an absolute path on the host",
      () => device("r", "/dev/fuse", "fuse"),
      ["InvalidArgument", `${at}.host_path: must be an absolute path`],
    ],
  ]);
});

describe("a container's security context", () => {
  check([
    [
      "may have processes of a target",
      () => containerSecurity({ namespaceOptions: { pid: 3, targetId: "a" } }),
    ],
    [
      "needs the target's id",
      () => containerSecurity({ namespaceOptions: { pid: NamespaceMode.TARGET } }),
      ["InvalidArgument", `${security}.namespace_options.target_id: must not be empty`],
    ],
    [
      "may not name a target without need",
      () => containerSecurity({ namespaceOptions: { targetId: "a" } }),
      ["InvalidArgument", `${security}.namespace_options.target_id: is for pid TARGET only`],
    ],
    [
      "may not have a user by id and by name",
      () => containerSecurity({ runAsUser: { value: 0n }, runAsUsername: "root" }),
      ["InvalidArgument", `${security}.run_as_username: must not be set together with run_as_user`],
    ],
    [
      "may have a group with a user name",
      () => containerSecurity({ runAsUsername: "nobody", runAsGroup: { value: 5n } }),
    ],
    [
      "may not have a group without a user",
      () => containerSecurity({ runAsGroup: { value: 5n } }),
      ["InvalidArgument", `${security}.run_as_group: must not be set without run_as_user or run_as_username`],
    ],
    [
      "may not have a line of passwd as user name",
      () => containerSecurity({ runAsUsername: "a:0" }),
      ["InvalidArgument", `${security}.run_as_username: must not contain a colon`],
    ],
    [
      "may have capabilities in either case, and all",
      () =>
        containerSecurity({
          capabilities: { addCapabilities: ["net_admin", "SYS_TIME"], dropCapabilities: ["ALL"] },
        }),
    ],
    [
      "may not have an unknown capability",
      () => containerSecurity({ capabilities: { dropCapabilities: ["CHOWN", "FLY"] } }),
      ["InvalidArgument", `${security}.capabilities.drop_capabilities[1]: "FLY" is no capability`],
    ],
    [
      "needs absolute masked paths",
      () => containerSecurity({ maskedPaths: ["/proc/kcore", "proc"] }),
      ["InvalidArgument", `${security}.masked_paths[1]: must be an absolute path`],
    ],
    [
      "needs absolute read-only paths",
      () => containerSecurity({ readonlyPaths: [""] }),
      ["InvalidArgument", `${security}.readonly_paths[0]: must not be empty`],
    ],
    [
      "may have a seccomp profile of its own",
      () =>
        containerSecurity({ seccomp: { profileType: ProfileType.Localhost, localhostRef: "/etc/p.json" } }),
    ],
    [
      "needs the path of a seccomp profile",
      () => containerSecurity({ seccomp: { profileType: ProfileType.Localhost, localhostRef: "p.json" } }),
      ["InvalidArgument", `${security}.seccomp.localhost_ref: must be an absolute path`],
    ],
    [
      "may not have a seccomp profile unused",
      () => containerSecurity({ seccomp: { localhostRef: "/etc/p.json" } }),
      ["InvalidArgument", `${security}.seccomp.localhost_ref: is for profile_type Localhost only`],
    ],
    [
      "may not have an unknown kind of profile",
      () => containerSecurity({ seccomp: { profileType: 9 as never } }),
      ["InvalidArgument", `${security}.seccomp.profile_type: 9 is no value of ProfileType`],
    ],
    [
      "may have a legacy seccomp profile",
      () => containerSecurity({ seccompProfilePath: "localhost//etc/p.json" }),
    ],
    [
      "may not have an unknown legacy seccomp profile",
      () => containerSecurity({ seccompProfilePath: "strict" }),
      ["InvalidArgument", `${security}.seccomp_profile_path: must be runtime/default`],
    ],
    [
      "may not have an AppArmor profile of its own by the legacy field",
      () => containerSecurity({ apparmorProfile: "localhost/mine" }),
      ["FailedPrecondition", `${security}.apparmor_profile: the AppArmor profile "mine" cannot be applied`],
    ],
  ]);
});

describe("resources", () => {
  check([
    [
      "within their bounds are accepted",
      () =>
        resources({
          cpuPeriod: 100_000n,
          cpuQuota: 50_000n,
          cpuShares: 1024n,
          memoryLimitInBytes: 1n << 30n,
          memorySwapLimitInBytes: 1n << 30n,
          oomScoreAdj: -998n,
          cpusetCpus: "0-3,7",
          cpusetMems: "0",
          hugepageLimits: [{ pageSize: "2MB", limit: 0n }],
          unified: { "memory.high": "max", "hugetlb.2MB.max": "0" },
        }),
    ],
    ["may be unlimited", () => resources({ cpuQuota: -1n, memoryLimitInBytes: -1n })],
    [
      "may not have a period of a second and more",
      () => resources({ cpuPeriod: 1_000_001n }),
      ["InvalidArgument", `${limits}.cpu_period: must be between 1000 and 1000000`],
    ],
    [
      "may not have a quota below the kernel's",
      () => resources({ cpuQuota: 999n }),
      ["InvalidArgument", `${limits}.cpu_quota: must be -1 (no limit) or at least 1000, but is 999`],
    ],
    [
      "may not have negative shares",
      () => resources({ cpuShares: -1n }),
      ["InvalidArgument", `${limits}.cpu_shares: must be between 0 and 262144`],
    ],
    [
      "may not have negative memory",
      () => resources({ memoryLimitInBytes: -2n }),
      ["InvalidArgument", `${limits}.memory_limit_in_bytes: must be -1`],
    ],
    [
      "may not have less swap and memory than memory",
      () => resources({ memoryLimitInBytes: 100n, memorySwapLimitInBytes: 99n }),
      ["InvalidArgument", `${limits}.memory_swap_limit_in_bytes: must not be below memory_limit_in_bytes`],
    ],
    [
      "may not have an OOM score beyond the kernel's",
      () => resources({ oomScoreAdj: 1001n }),
      ["InvalidArgument", `${limits}.oom_score_adj: must be between -1000 and 1000`],
    ],
    [
      "may not have CPUs that are no list",
      () => resources({ cpusetCpus: "0-" }),
      ["InvalidArgument", `${limits}.cpuset_cpus: must be a list`],
    ],
    [
      "may not have a page size without unit",
      () => resources({ hugepageLimits: [{ pageSize: "2" }] }),
      ["InvalidArgument", `${limits}.hugepage_limits[0].page_size: must look like 2MB`],
    ],
    [
      "may not write files of the cgroup core",
      () => resources({ unified: { "cgroup.procs": "1" } }),
      ["InvalidArgument", `${limits}.unified: "cgroup.procs" is no file of a cgroup controller`],
    ],
    [
      "may not write files elsewhere",
      () => resources({ unified: { "../memory.max": "1" } }),
      ["InvalidArgument", `${limits}.unified: "../memory.max" is no file of a cgroup controller`],
    ],
  ]);
});

describe("other requests", () => {
  check([
    [
      "need an id",
      () => verdict(PodSandboxStatusRequestSchema, {}),
      ["InvalidArgument", "pod_sandbox_id: must not be empty"],
    ],
    [
      "may not have a NUL in an id",
      () => verdict(PodSandboxStatusRequestSchema, { podSandboxId: "a\0" }),
      ["InvalidArgument", "pod_sandbox_id: must not contain a NUL byte"],
    ],
    [
      "to execute need a program",
      () => verdict(ExecSyncRequestSchema, { containerId: "a" }),
      ["InvalidArgument", "cmd: must name a program"],
    ],
    [
      "to execute need the program's name",
      () => verdict(ExecSyncRequestSchema, { containerId: "a", cmd: ["", "x"] }),
      ["InvalidArgument", "cmd[0]: must not be empty"],
    ],
    [
      "to execute may not take negative time",
      () => verdict(ExecSyncRequestSchema, { containerId: "a", cmd: ["x"], timeout: -1n }),
      ["InvalidArgument", "timeout: must not be negative, but is -1"],
    ],
    [
      "to stop may have a negative timeout",
      () => verdict(StopContainerRequestSchema, { containerId: "a", timeout: -1n }),
    ],
    [
      "for an image need its name",
      () => verdict(ImageStatusRequestSchema, {}),
      ["InvalidArgument", "image: must be set"],
    ],
    [
      "for an image may not have spaces in its name",
      () => verdict(PullImageRequestSchema, { image: { image: "a b" } }),
      ["InvalidArgument", "image.image: must not contain spaces"],
    ],
    [
      "never show a secret",
      () => verdict(PullImageRequestSchema, { image: { image: "x" }, auth: { password: "hunter2\0" } }),
      ["InvalidArgument", "auth.password: must not contain a NUL byte"],
    ],
    [
      "to list may not have an unknown state",
      () => verdict(ListContainersRequestSchema, { filter: { state: { state: 9 as never } } }),
      ["InvalidArgument", "filter.state.state: 9 is no value of ContainerState"],
    ],
  ]);

  test("never have their secrets in an error", () => {
    const found = verdict(PullImageRequestSchema, { image: { image: "x" }, auth: { password: "hunter2\0" } });
    expect(found?.[1]).not.toContain("hunter2");
  });
});
