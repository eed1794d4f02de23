// SPDX-License-Identifier: Apache-2.0
import { ContainerState, PodSandboxState } from "../gen/runtime/v1/api_pb.ts";
import type { FakeDaemon } from "./fake-daemon.ts";

/** An id of one digit, over and over. */
export const id = (digit: string) => digit.repeat(64);

/** A kept pod `demo` with containers app1 and app2, and `other`, a pod of a kubelet. */
export function populate(daemon: FakeDaemon): void {
  const createdAt = BigInt(Date.now()) * 1_000_000n - 185_000_000_000n;
  daemon.pods = [
    {
      name: { namespace: "default", name: "demo", uid: "u1" },
      phase: "Running",
      sandboxId: id("a"),
      addresses: ["10.85.0.2"],
      createdAtNs: createdAt,
      containers: [
        { name: "app1", image: "nginx", state: "running", containerId: id("b"), restarts: 2, ready: true },
        {
          name: "app2",
          image: "busybox",
          state: "waiting",
          reason: "ErrImagePull",
          message: "no such image",
        },
      ],
    },
  ];
  const sandbox = (digit: string, name: string, namespace: string, uid: string) => ({
    id: id(digit),
    metadata: { name, namespace, uid, attempt: 0 },
    state: PodSandboxState.SANDBOX_READY,
    createdAt,
  });
  daemon.sandboxes = [sandbox("a", "demo", "default", "u1"), sandbox("c", "other", "kube-system", "u2")];
  const container = (digit: string, pod: string, name: string, attempt: number, state: ContainerState) => ({
    id: id(digit),
    podSandboxId: id(pod),
    metadata: { name, attempt },
    image: { image: "sha256:1", userSpecifiedImage: "nginx" },
    state,
    createdAt: createdAt + BigInt(attempt) * 1_000_000_000n,
  });
  daemon.containers = [
    container("b", "a", "app1", 2, ContainerState.CONTAINER_RUNNING),
    container("d", "a", "app1", 1, ContainerState.CONTAINER_EXITED),
    container("e", "c", "etcd", 0, ContainerState.CONTAINER_RUNNING),
  ];
}

export const statuses = {
  containerStatus: () => ({ info: { info: '{"pid": 4242}' } }),
  podSandboxStatus: () => ({ status: { network: { ip: "10.85.0.3" } }, info: { info: '{"pid": 4141}' } }),
};
