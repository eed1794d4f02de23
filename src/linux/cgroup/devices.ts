// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf } from "../../errors.ts";
import { O_DIRECTORY, O_RDONLY } from "../abi/fcntl.ts";
import {
  attachDeviceProgram,
  attachedDevicePrograms,
  detachDeviceProgram,
  encodeProgram,
  loadDeviceProgram,
} from "../bpf.ts";
import { open } from "../fd.ts";
import { deviceProgram } from "./device-program.ts";
import { type DevicePolicy, type DeviceRule, devicePolicy, deviceText } from "./device-rules.ts";
import { read, write, writeEach } from "./files.ts";

/** Where device rules go: a v1 devices hierarchy, or any directory of a cgroup2 one, controller or not. */
export type DevicesDirectory =
  | { readonly version: "v1"; readonly directory: string }
  | { readonly version: "v2"; readonly directory: string };

/** Makes the cgroup follow `rules` from the next open or mknod on; what is open stays open. */
export function applyDeviceRules(
  { version, directory }: DevicesDirectory,
  rules: readonly DeviceRule[],
): void {
  const policy = devicePolicy(rules);
  if (version === "v1") {
    writeLists(directory, policy);
    return;
  }
  try {
    attachProgram(directory, policy);
  } catch (cause) {
    throw new InternalError(
      `cannot restrict the devices of cgroup ${directory}: ${messageOf(cause)} ` +
        "(that takes a BPF program of type cgroup_device, and CAP_BPF or CAP_SYS_ADMIN)",
      { cause },
    );
  }
}

/**
 * devices.deny and devices.allow: `a` sets the answer for all devices and forgets the exceptions. The
 * kernel refuses that once a cgroup has children, so a list that is right already is left alone.
 */
function writeLists(directory: string, { allowsByDefault, exceptions }: DevicePolicy): void {
  const wanted = exceptions.map(deviceText);
  const present = read(`${directory}/devices.list`).split("\n").filter(Boolean);
  const isSame =
    !allowsByDefault && present.length === wanted.length && wanted.every((line) => present.includes(line));
  if (isSame) return;
  const [forAll, forExceptions] = allowsByDefault ? ["allow", "deny"] : ["deny", "allow"];
  write(`${directory}/devices.${forAll}`, "a");
  writeEach(`${directory}/devices.${forExceptions}`, wanted);
}

/** A device is allowed when every attached program allows it: the new one comes before the old ones go. */
function attachProgram(directory: string, policy: DevicePolicy): void {
  using cgroup = open(directory, O_RDONLY | O_DIRECTORY);
  using former = new DisposableStack();
  const outdated = attachedDevicePrograms(cgroup).map((program) => former.use(program));
  if (!policy.allowsByDefault || policy.exceptions.length > 0) {
    using program = loadDeviceProgram(encodeProgram(deviceProgram(policy)));
    attachDeviceProgram(cgroup, program);
  }
  for (const program of outdated) detachDeviceProgram(cgroup, program);
}
