// SPDX-License-Identifier: Apache-2.0
import type { CgroupPlan } from "../../kube/explain/cgroup-plan.ts";
import type { ContainerPlan, ImagePlan } from "../../kube/explain/explain-container.ts";
import type { PodPlan } from "../../kube/explain/explain-pod.ts";
import { size } from "../human.ts";
import type { painter } from "../table.ts";

/** What the daemon answers. */
export interface Explanation {
  readonly notes: readonly string[];
  readonly needs: readonly {
    readonly permission: string;
    readonly place: string;
    readonly why: string;
    readonly isAllowed: boolean;
  }[];
  readonly pods: readonly PodPlan[];
  readonly podsLeftOut: number;
}

type Paint = ReturnType<typeof painter>;

/** An explanation as a person reads it; with `calls` also each system call. */
export function shown(
  { notes, needs, pods, podsLeftOut }: Explanation,
  calls: boolean,
  paint: Paint,
): string {
  const lines: string[] = [];
  if (needs.length > 0) {
    lines.push("Permissions that it needs of whoever runs it:");
    for (const { permission, place, why, isAllowed } of needs) {
      const verdict = isAllowed
        ? paint("allowed", "green")
        : paint(`not allowed: give --allow-${permission}`, "red");
      lines.push(`  ${permission} (${verdict})`, `    ${place}`, `    ${why}`);
    }
    lines.push("");
  }
  for (const note of notes) lines.push(`Note: ${note}`);
  for (const pod of pods) lines.push(...podLines(pod, calls, paint), "");
  if (podsLeftOut > 0) lines.push(`… and ${podsLeftOut} more pods.`, "");
  return lines.join("\n");
}

function podLines(
  { name, owner, sandbox, containers, volumeImages = [] }: PodPlan,
  calls: boolean,
  paint: Paint,
): string[] {
  const lines = [`Pod ${name}${owner === "" ? "" : `, of ${owner}`}`];
  for (const { name: container, image } of containers) lines.push(imageLine(container, image));
  for (const { volume, ...image } of volumeImages) lines.push(imageLine(`volume ${volume}`, image));
  lines.push(
    `  Sandbox: host name ${sandbox.hostname}, files in ${sandbox.directory}`,
    `    new namespaces: ${sandbox.newNamespaces.join(", ")}`,
    ...(sandbox.podCgroup === undefined ? [] : cgroupLines(sandbox.podCgroup, "cgroup of the pod")),
    ...cgroupLines(sandbox.cgroup),
    ...Object.entries(sandbox.sysctls).map(
      ([key, value]) => `    sysctl ${key.replaceAll("/", ".")} = ${value}`,
    ),
    ...sandbox.network.map((step) => `    network: ${step}`),
    ...problemLines(sandbox.problem, paint),
    ...programLines(sandbox, calls),
  );
  return [...lines, ...containers.flatMap((container) => containerLines(container, calls, paint))];
}

function imageLine(user: string, { reference, step, policy, registry }: ImagePlan): string {
  const line = `  Image ${reference} of ${user} ${step} (policy ${policy})`;
  if (registry === undefined) return line;
  if ("problem" in registry) return `${line}: ${registry.problem}`;
  const { digest, downloadBytes, isSame } = registry;
  if (isSame) return `${line}: the registry has the same`;
  return `${line}: the registry has ${digest}, ${size(BigInt(downloadBytes))} to download`;
}

function containerLines(plan: ContainerPlan, calls: boolean, paint: Paint): string[] {
  const { name, isInit, problem, user, mounts, capabilities, environment, cgroup } = plan;
  const head = `  ${isInit ? "Init container" : "Container"} ${name}`;
  if (plan.command.length === 0) return [head, ...cgroupLines(cgroup), ...problemLines(problem, paint)];
  return [
    head,
    `    runs ${JSON.stringify(plan.command)} in ${plan.workingDirectory}`,
    `    as user ${user.uid}, group ${[...new Set([user.gid, ...user.groups])].join(" and ")}`,
    `    environment: ${environment.join(", ")}`,
    `    capabilities: ${capabilities.map((one) => one.replace(/^CAP_/, "")).join(", ") || "none"}`,
    `    no_new_privs: ${plan.noNewPrivileges ? "yes" : "no"}; seccomp: ${plan.seccomp}`,
    `    namespaces: ${plan.namespaces.join(", ")}`,
    ...cgroupLines(cgroup),
    ...mounts.map(
      ({ destination, type, source, options }) =>
        `    mount ${destination}: ${type === "bind" ? source : type} (${options.filter((one) => !one.startsWith("lowerdir+=")).join(",")})`,
    ),
    ...problemLines(problem, paint),
    ...programLines(plan, calls),
  ];
}

function cgroupLines({ path, settings }: CgroupPlan, what = "cgroup"): string[] {
  return [`    ${what} ${path}`, ...settings.map(({ file, value }) => `      ${file} = ${value}`)];
}

type Programmed = Pick<ContainerPlan, "program" | "unlisted">;

function problemLines(problem: string | undefined, paint: Paint): string[] {
  return problem === undefined ? [] : [`    ${paint("Problem", "red")}: ${problem}`];
}

function programLines({ program, unlisted }: Programmed, calls: boolean): string[] {
  if (unlisted !== undefined) return [`    launch program: not podrt's own: ${unlisted}`];
  const count = program.reduce((sum, { steps }) => sum + steps.length, 0);
  if (count === 0) return [];
  const head = `    launch program: ${count} system calls`;
  if (!calls) return [`${head} (--calls lists them)`];
  return [
    head,
    ...program.flatMap(({ depth, steps }) => [
      `      ${depth === 0 ? "the monitor:" : depth === 1 ? "the new process:" : `the process at depth ${depth}:`}`,
      ...steps.map(({ name, call, answer, tolerates }, index) => {
        const result = answer === undefined ? "" : `${answer} = `;
        const passes = tolerates.length === 0 ? "" : `, ${tolerates.join(" and ")} may be`;
        return `      ${String(index).padStart(4)}  ${result}${call}  — ${name}${passes}`;
      }),
    ]),
  ];
}
