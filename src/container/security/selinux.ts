// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError } from "../../errors.ts";
import type { SELinuxOption } from "../../gen/runtime/v1/api_pb.ts";
import type { ExecLabel } from "../../launch/exec-label.ts";
import { formatContext, parseContext, type Selinux, type SelinuxContext } from "../../linux/selinux.ts";
import type { PodLabels } from "../../state/sandboxes.ts";

/*
 * All containers of a pod have one label, and each pod has a pair of categories of its own (multi-category
 * security, mcs(8)): what processes of one pod write, processes of another may not read. The pair is kept in the
 * sandbox's record, and is free again when that is gone.
 */

/** What a container is labelled with; without `process` it runs as the policy decides. */
export interface ContainerLabels {
  readonly process: string | undefined;
  readonly file: string;
}

/** Categories are c0 to c1023 in the policies that are made for containers. */
const CATEGORIES = 1024;
const DRAWS = 10_000;
const PRIVILEGED_TYPE = "spc_t";
const PRIVILEGED_LEVELS = ["s0-s0:c0.c1023", "s0"] as const;

/**
 * The labels of a pod: what it asks for, the rest by default, the level with categories that none of `others` has.
 * Undefined where SELinux is off, or its policy knows no containers and the pod asks for nothing.
 */
export function podLabels(
  path: string,
  options: SELinuxOption | undefined,
  selinux: Selinux,
  others: Iterable<PodLabels>,
): PodLabels | undefined {
  if (!mayLabel(path, options, selinux)) return undefined;
  if (!isAsked(options) && !selinux.accepts(formatContext(selinux.process))) return undefined;
  const level = options?.level || freeLevel(selinux.process.level, others);
  const process = formatContext({ ...merged(options, selinux.process), level });
  const file = formatContext({ ...selinux.file, level, ...(options?.user ? { user: options.user } : {}) });
  for (const context of [process, file]) checkKnown(path, context, selinux);
  return { process, file };
}

/** The labels of a container: what it asks for, the rest from its pod. */
export function containerLabels(
  path: string,
  security: { readonly privileged: boolean; readonly selinuxOptions?: SELinuxOption | undefined } | undefined,
  pod: PodLabels | undefined,
  selinux: Selinux,
): ContainerLabels | undefined {
  const options = security?.selinuxOptions;
  if (!mayLabel(path, options, selinux)) return undefined;
  if (pod === undefined && !isAsked(options)) return undefined;
  const base = pod ?? { process: formatContext(selinux.process), file: formatContext(selinux.file) };
  const ofPod = parseContext(base.process) ?? selinux.process;
  const file = formatContext({
    ...(parseContext(base.file) ?? selinux.file),
    level: options?.level || ofPod.level,
    ...(options?.user ? { user: options.user } : {}),
  });
  checkKnown(path, file, selinux);
  const process = merged(options, ofPod);
  if (security?.privileged && !options?.type) return { process: privileged(process, selinux), file };
  checkKnown(path, formatContext(process), selinux);
  return { process: formatContext(process), file };
}

/** A privileged container is confined by nothing that the policy can lift; not every policy has a word for that. */
function privileged(context: SelinuxContext, selinux: Selinux): string | undefined {
  return PRIVILEGED_LEVELS.map((level) => formatContext({ ...context, type: PRIVILEGED_TYPE, level })).find(
    (candidate) => selinux.accepts(candidate),
  );
}

/** The label of files that containers of every pod may read and execute; undefined where the policy has none. */
export function commonFileLabel(selinux: Selinux): string | undefined {
  const label = formatContext(selinux.file);
  return selinux.accepts(label) ? label : undefined;
}

/** How a launch asks for the label. */
export function selinuxExecLabels(label: string | undefined): ExecLabel[] {
  return label === undefined
    ? []
    : [{ what: `take the SELinux label ${label}`, attribute: "exec", text: label }];
}

function isAsked(options: SELinuxOption | undefined): boolean {
  return options !== undefined && [options.user, options.role, options.type, options.level].some(Boolean);
}

function mayLabel(path: string, options: SELinuxOption | undefined, selinux: Selinux): boolean {
  if (selinux.isEnabled) return true;
  if (!isAsked(options)) return false;
  throw new FailedPreconditionError(
    `${path}.selinux_options: SELinux is not enabled on this machine: leave the field out`,
  );
}

function merged(options: SELinuxOption | undefined, rest: SelinuxContext): SelinuxContext {
  return {
    user: options?.user || rest.user,
    role: options?.role || rest.role,
    type: options?.type || rest.type,
    level: options?.level || rest.level,
  };
}

function checkKnown(path: string, context: string, selinux: Selinux): void {
  if (selinux.accepts(context)) return;
  throw new InvalidArgumentError(
    `${path}.selinux_options`,
    `this machine's SELinux policy does not know the context ${context}`,
  );
}

/** `base` (a sensitivity) with two categories that no pod has yet. */
function freeLevel(base: string, others: Iterable<PodLabels>): string {
  const taken = new Set([...others].map(({ file }) => parseContext(file)?.level));
  const sensitivity = base.split(/[:-]/)[0] ?? base;
  for (let draw = 0; draw < DRAWS; draw++) {
    const [low, high] = [randomInt(CATEGORIES), randomInt(CATEGORIES)].sort((a, b) => a - b);
    const level = `${sensitivity}:c${low},c${high}`;
    if (low !== high && !taken.has(level)) return level;
  }
  throw new ResourceExhaustedError("no pair of SELinux categories is free: remove pods");
}
