// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LinuxContainerSecurityContextSchema, SELinuxOptionSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { Selinux } from "../../linux/selinux.ts";
import type { PodLabels } from "../../state/sandboxes.ts";
import { containerLabels, podLabels, selinuxExecLabels } from "./selinux.ts";

type Options = MessageInitShape<typeof SELinuxOptionSchema>;

function machine(isEnabled: boolean, knows: (context: string) => boolean = () => true): Selinux {
  return {
    isEnabled,
    accepts: (context) => isEnabled && knows(context),
    process: { user: "system_u", role: "system_r", type: "container_t", level: "s0" },
    file: { user: "system_u", role: "object_r", type: "container_file_t", level: "s0" },
  };
}
const off = machine(false);
const on = machine(true);
const withoutPolicy = machine(true, (context) => !context.includes("container_t"));

const ofPod = (options?: Options, selinux = on, others: PodLabels[] = []) =>
  podLabels("at", options && create(SELinuxOptionSchema, options), selinux, others);

const pod = {
  process: "system_u:system_r:container_t:s0:c1,c2",
  file: "system_u:object_r:container_file_t:s0:c1,c2",
};

function ofContainer(options?: Options, privileged = false, selinux = on, labels: PodLabels | null = pod) {
  const security = { privileged, ...(options && { selinuxOptions: options }) };
  return containerLabels(
    "at",
    create(LinuxContainerSecurityContextSchema, security as never),
    labels ?? undefined,
    selinux,
  );
}

test("a pod that asks for nothing has a pair of categories of its own, the same for processes and files", () => {
  const { process, file } = ofPod()!;
  const [, low, high] = /^system_u:system_r:container_t:s0:c(\d+),c(\d+)$/.exec(process)!;
  expect(Number(low)).toBeLessThan(Number(high));
  expect(Number(high)).toBeLessThan(1024);
  expect(file).toBe(`system_u:object_r:container_file_t:s0:c${low},c${high}`);
});

test("no two pods have the same pair", () => {
  const pods: PodLabels[] = [];
  for (let count = 0; count < 2000; count++) pods.push(ofPod(undefined, on, pods)!);
  expect(new Set(pods.map(({ process }) => process)).size).toBe(2000);
});

test("what a pod asks for takes the place of the defaults", () => {
  expect(ofPod({ level: "s0:c7,c9" })).toEqual({
    process: "system_u:system_r:container_t:s0:c7,c9",
    file: "system_u:object_r:container_file_t:s0:c7,c9",
  });
  expect(ofPod({ user: "me_u", role: "me_r", type: "me_t", level: "s1" })).toEqual({
    process: "me_u:me_r:me_t:s1",
    file: "me_u:object_r:container_file_t:s1",
  });
});

test("a container has its pod's label, but for what it asks for itself", () => {
  expect(ofContainer()).toEqual(pod);
  expect(ofContainer({})).toEqual(pod);
  expect(ofContainer({ type: "svirt_lxc_net_t" })).toEqual({
    process: "system_u:system_r:svirt_lxc_net_t:s0:c1,c2",
    file: pod.file,
  });
  expect(ofContainer({ level: "s0" })).toEqual({
    process: "system_u:system_r:container_t:s0",
    file: "system_u:object_r:container_file_t:s0",
  });
});

test("a privileged container is not confined, unless it names a type; its files are the pod's", () => {
  expect(ofContainer(undefined, true)).toEqual({
    process: "system_u:system_r:spc_t:s0-s0:c0.c1023",
    file: pod.file,
  });
  expect(ofContainer({ type: "own_t" }, true)?.process).toBe("system_u:system_r:own_t:s0:c1,c2");
  const plain = machine(true, (context) => !context.includes("-"));
  expect(ofContainer(undefined, true, plain)?.process).toBe("system_u:system_r:spc_t:s0");
  const none = machine(true, (context) => !context.includes("spc_t"));
  expect(ofContainer(undefined, true, none)).toEqual({ process: undefined, file: pod.file });
});

test("where SELinux is off nothing is labelled, and asking for a label is refused", () => {
  expect(ofPod(undefined, off)).toBeUndefined();
  expect(ofPod({}, off)).toBeUndefined();
  expect(ofContainer({}, false, off, null)).toBeUndefined();
  for (const attempt of [
    () => ofPod({ level: "s0" }, off),
    () => ofContainer({ type: "t" }, false, off, null),
  ]) {
    expect(attempt).toThrow("at.selinux_options: SELinux is not enabled on this machine");
  }
});

test("a policy without containers labels nothing by itself, and what it does not know is refused", () => {
  expect(ofPod(undefined, withoutPolicy)).toBeUndefined();
  expect(ofContainer(undefined, false, withoutPolicy, null)).toBeUndefined();
  expect(() => ofPod({ level: "s0" }, withoutPolicy)).toThrow(
    "at.selinux_options: this machine's SELinux policy does not know the context system_u:system_r:container_t:s0",
  );
  expect(ofPod({ type: "own_t", level: "s0" }, withoutPolicy)?.process).toBe("system_u:system_r:own_t:s0");
  expect(ofContainer({ type: "own_t" }, false, withoutPolicy, null)?.process).toBe(
    "system_u:system_r:own_t:s0",
  );
});

test("a launch asks for the label in the kernel's words", () => {
  expect(selinuxExecLabels(undefined)).toEqual([]);
  expect(selinuxExecLabels("a:b:c:s0")).toMatchObject([{ attribute: "exec", text: "a:b:c:s0" }]);
});
