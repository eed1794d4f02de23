// SPDX-License-Identifier: Apache-2.0
import { describe } from "bun:test";
import { type ContainerInit, check, container, verdict } from "../../test/fixtures/request-verdict.ts";
import { CreateContainerRequestSchema, MountPropagation, Signal } from "../gen/runtime/v1/api_pb.ts";

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
    ["may have CDI devices", () => container({ CDIDevices: [{ name: "vendor.com/class=name" }] })],
    [
      "may not have CDI devices without their kind",
      () => container({ CDIDevices: [{ name: "v/c=n" }, { name: "gpu0" }] }),
      [
        "InvalidArgument",
        'config.CDI_devices[1].name: must name a device as in vendor.com/class=name, but is "gpu0"',
      ],
    ],
    [
      "may have CDI devices by annotation",
      () => container({ annotations: { "cdi.k8s.io/gpu": "v/c=n,v/c=m" } }),
    ],
    [
      "may not have CDI devices by an annotation that does not name them",
      () => container({ annotations: { "cdi.k8s.io/gpu": "v/c=n," } }),
      [
        "InvalidArgument",
        'config.annotations[cdi.k8s.io/gpu]: must name a device as in vendor.com/class=name, but is ""',
      ],
    ],
    [
      "may not have more CDI devices than any machine",
      () => container({ annotations: { "cdi.k8s.io/gpu": Array(4097).fill("v/c=n").join() } }),
      ["InvalidArgument", "config.CDI_devices: must not have more than 4096 entries, annotations included"],
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
    ["may be of an image", () => mount({ hostPath: "", readonly: true, image: { image: "x" } })],
    [
      "of an image needs its name",
      () => mount({ hostPath: "", readonly: true, image: {} }),
      ["InvalidArgument", `${at}.image.image: must not be empty`],
    ],
    [
      "of an image needs a known runtime handler",
      () => mount({ hostPath: "", readonly: true, image: { image: "x", runtimeHandler: "kata" } }),
      ["InvalidArgument", `${at}.image.runtime_handler: there is no runtime handler "kata"`],
    ],
    [
      "of an image may not leave it",
      () => mount({ hostPath: "", readonly: true, image: { image: "x" }, imageSubPath: "a/../../b" }),
      ["InvalidArgument", `${at}.image_sub_path: must not contain ".."`],
    ],
    [
      "of an image may not stand for /proc",
      () => mount({ containerPath: "/proc/", hostPath: "", readonly: true, image: { image: "x" } }),
      ["InvalidArgument", `${at}.container_path: must not be /proc in a mount of an image`],
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
    ["may be recursively read-only", () => mount({ recursiveReadOnly: true, readonly: true })],
    [
      "may not be recursively read-only and receive mounts",
      () =>
        mount({
          recursiveReadOnly: true,
          readonly: true,
          propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
        }),
      ["InvalidArgument", `${at}.recursive_read_only: must not be set with a propagation other than private`],
    ],
    [
      "may not be recursively read-only and shared",
      () =>
        mount({
          recursiveReadOnly: true,
          readonly: true,
          propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL,
        }),
      ["InvalidArgument", `${at}.recursive_read_only: must not be set with a propagation other than private`],
    ],
    ["may have the options of the interface", () => mount({ mountOptions: ["noexec", "nodev", "nosuid"] })],
    [
      "may not have other options",
      () => mount({ mountOptions: ["noexec", "exec"] }),
      ["InvalidArgument", `${at}.mount_options[1]: must be one of nodev, noexec, nosuid, but is "exec"`],
    ],
    ["may be on a file of /proc that tells of the machine", () => mount({ containerPath: "/proc//cpuinfo" })],
    ["may be on /proc itself, as far as its path goes", () => mount({ containerPath: "/proc" })],
    ["may be beside /proc", () => mount({ containerPath: "/process" })],
    ...["/proc/self", "/proc/./sys/kernel", "//proc/cpuinfo/x", "/./proc/self/attr/"].map(
      (containerPath) =>
        [
          `may not be at ${containerPath}`,
          () => mount({ containerPath }),
          ["InvalidArgument", `${at}.container_path: must not be inside /proc, other than at cpuinfo`],
        ] as const,
    ),
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
