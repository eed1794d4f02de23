// SPDX-License-Identifier: Apache-2.0
import {
  type ContainerAdjustment,
  IOPrioClass,
  type LinuxIOPriority,
  type POSIXRlimit,
} from "../gen/nri/v1alpha1/api_pb.ts";
import { isRlimitName } from "../linux/abi/resource.ts";
import type { RuntimeIoPriority, RuntimeProcess, RuntimeRlimit } from "../oci/runtime-spec.ts";
import { refuse } from "./refusals.ts";

/** What the container runs, with the arguments, limits and priorities that a plugin wants; variables are not its part. */
export function adjustedProcess(
  process: RuntimeProcess,
  { args, rlimits, linux }: ContainerAdjustment,
  plugin: string,
): RuntimeProcess {
  const line = args[0] === "" ? args.slice(1) : args;
  if (args.length > 0 && (line[0] ?? "") === "") refuse(plugin, "args", "there is no program to run");
  const types = rlimits.map(({ type }) => type);
  const score = linux?.oomScoreAdj?.value;
  if (score !== undefined && (score < -1000n || score > 1000n)) {
    refuse(plugin, "linux.oom_score_adj", `${score} is not from -1000 to 1000`);
  }
  return {
    ...process,
    ...(line.length === 0 ? {} : { args: line }),
    ...(score === undefined ? {} : { oomScoreAdj: Number(score) }),
    ...(rlimits.length === 0
      ? {}
      : {
          rlimits: [
            ...(process.rlimits ?? []).filter(({ type }) => !types.includes(type)),
            ...rlimits.map((limit) => rlimitOf(limit, plugin)),
          ],
        }),
    ...(linux?.ioPriority === undefined ? {} : { ioPriority: ioPriorityOf(linux.ioPriority, plugin) }),
  };
}

function rlimitOf({ type, soft, hard }: POSIXRlimit, plugin: string): RuntimeRlimit {
  if (!isRlimitName(type)) refuse(plugin, `rlimits[${type}]`, "Linux has no such limit");
  if (soft > hard)
    refuse(plugin, `rlimits[${type}]`, `the soft limit ${soft} is above the hard limit ${hard}`);
  return { type, soft: String(soft), hard: String(hard) };
}

function ioPriorityOf({ class: kind, priority }: LinuxIOPriority, plugin: string): RuntimeIoPriority {
  const names = ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"] as const;
  const name = names.find((name) => IOPrioClass[name] === kind);
  if (name === undefined || priority < 0 || priority > 7) {
    refuse(plugin, "linux.io_priority", "it is not of a class with a priority from 0 to 7");
  }
  return { class: name, priority };
}
