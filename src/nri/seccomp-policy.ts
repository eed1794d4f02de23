// SPDX-License-Identifier: Apache-2.0
import type { LinuxSeccomp } from "../gen/nri/v1alpha1/api_pb.ts";
import type { RuntimeSeccomp } from "../oci/runtime-spec.ts";

/** Stands where the path of a profile's file does, for messages. */
export function profileName(plugin: string): string {
  return `the seccomp policy of NRI plugin ${plugin}`;
}

const BIG = "integer:";

/** A plugin's policy in the place of a profile; arguments have 64 bits, which numbers do not hold. */
export function seccompOf(policy: LinuxSeccomp, plugin: string): RuntimeSeccomp {
  const profile = {
    defaultAction: policy.defaultAction,
    ...(policy.defaultErrno === undefined ? {} : { defaultErrnoRet: policy.defaultErrno.value }),
    architectures: policy.architectures,
    flags: policy.flags,
    listenerPath: policy.listenerPath,
    syscalls: policy.syscalls.map(({ names, action, errnoRet, args }) => ({
      names,
      action,
      ...(errnoRet === undefined ? {} : { errnoRet: errnoRet.value }),
      args: args.map(({ index, value, valueTwo, op }) => ({
        index,
        value: `${BIG}${value}`,
        valueTwo: `${BIG}${valueTwo}`,
        op,
      })),
    })),
  };
  const text = JSON.stringify(profile).replaceAll(new RegExp(`"${BIG}(\\d+)"`, "g"), "$1");
  return { path: profileName(plugin), text };
}
