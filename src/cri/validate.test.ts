// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { check, container, sandbox, verdict } from "../../test/fixtures/request-verdict.ts";
import {
  ExecSyncRequestSchema,
  ImageStatusRequestSchema,
  ListContainersRequestSchema,
  NamespaceMode,
  PodSandboxStatusRequestSchema,
  SecurityProfile_ProfileType as ProfileType,
  PullImageRequestSchema,
  StopContainerRequestSchema,
} from "../gen/runtime/v1/api_pb.ts";

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
