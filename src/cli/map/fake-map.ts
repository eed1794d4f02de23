// SPDX-License-Identifier: Apache-2.0
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type {
  MapPodsResponseSchema,
  MappedContainerSchema,
  MappedPodSchema,
} from "../../gen/podrt/v1/podrt_pb.ts";
import { NAMESPACE_KINDS } from "../../linux/process-namespaces.ts";
import { id } from "../fake-pods.ts";

/** As object literals. */
type Plain<S extends DescMessage> = Extract<MessageInitShape<S>, { $typeName?: never }>;
export type FakePod = Plain<typeof MappedPodSchema>;

/** A namespace of its own for each process, but for those that are named here. */
export type Inodes = Partial<Record<(typeof NAMESPACE_KINDS)[number], number>>;

/** The machine's namespaces have the numbers 4026531000 to 4026531007. */
const MACHINE = Object.fromEntries(NAMESPACE_KINDS.map((kind, index) => [kind, 4_026_531_000 + index]));

export function fakeProcess(pid: number, inodes: Inodes) {
  const own = (index: number) => 4_026_500_000 + pid * 10 + index;
  return {
    pid,
    namespaces: NAMESPACE_KINDS.map((kind, index) => ({
      kind,
      inode: BigInt(inodes[kind] ?? own(index)),
    })),
  };
}

export function fakeMapped(
  name: string,
  pid: number,
  inodes: Inodes,
  digit = "f",
): Plain<typeof MappedContainerSchema> {
  const image = `docker.io/library/${name}`;
  return { containerId: id(digit), name, image, state: "running", process: fakeProcess(pid, inodes) };
}

/** A pod as they usually are: net, ipc and uts are the pause's, user and time the machine's. */
export const USUAL: Inodes = {
  net: 4_026_532_201,
  ipc: 4_026_532_202,
  uts: 4_026_532_203,
  user: MACHINE["user"]!,
  time: MACHINE["time"]!,
};

export function fakeMap(...pods: FakePod[]): Plain<typeof MapPodsResponseSchema> {
  return { machine: fakeProcess(1000, MACHINE as Inodes), pods };
}

/** `demo` of fake-pods.ts with its pause and two containers. */
export const demoPod: FakePod = {
  sandboxId: id("a"),
  name: { namespace: "default", name: "demo", uid: "u1" },
  ready: true,
  addresses: ["10.85.0.2"],
  monitor: fakeProcess(4140, MACHINE as Inodes),
  pause: fakeProcess(4141, USUAL),
  containers: [fakeMapped("app1", 4142, USUAL, "b"), fakeMapped("app2", 4143, USUAL)],
};

/** In the machine's network and with one process namespace for all. */
export const wildPod: FakePod = {
  sandboxId: id("c"),
  name: { namespace: "kube-system", name: "other", uid: "u2" },
  ready: true,
  pause: fakeProcess(5141, {
    ...USUAL,
    net: MACHINE["net"]!,
    uts: MACHINE["uts"]!,
    ipc: 4_026_532_302,
    pid: 4_026_532_304,
  }),
  containers: [
    fakeMapped(
      "etcd",
      5142,
      {
        ...USUAL,
        net: MACHINE["net"]!,
        uts: MACHINE["uts"]!,
        ipc: 4_026_532_302,
        pid: 4_026_532_304,
      },
      "e",
    ),
  ],
};
