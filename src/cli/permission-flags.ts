// SPDX-License-Identifier: Apache-2.0
import { type Command, InvalidArgumentError, Option } from "commander";
import { PermissionDeniedError } from "../errors.ts";
import type { Need } from "../gen/podrt/v1/podrt_pb.ts";
import { canAsk, confirm } from "./ask.ts";
import type { Io } from "./io.ts";

/** The options of `run` that allow a manifest something of the host. */
export interface PermissionOptions {
  readonly allowAll?: boolean;
  readonly allowPrivileged?: boolean;
  readonly allowHostNetwork?: boolean;
  readonly allowHostPid?: boolean;
  readonly allowHostIpc?: boolean;
  readonly allowSelinux?: boolean;
  readonly allowHostPath?: readonly string[];
  readonly allowCap?: readonly string[];
  readonly allowSysctl?: readonly string[];
  readonly allowUnconfined?: readonly string[];
  readonly allowPort?: readonly string[];
}

const PLAIN = [
  ["privileged", "containers that are privileged: root of the machine"],
  ["host-network", "the machine's network"],
  ["host-pid", "to see the machine's processes"],
  ["host-ipc", "the machine's shared memory and queues"],
  ["selinux", "SELinux contexts of the manifest's choice"],
] as const;

const WITH_VALUES = [
  ["host-path", "<path[:ro]>", "the machine's files below a path, with :ro only to read"],
  ["cap", "<names>", "capabilities beyond the usual, ALL for every one"],
  ["sysctl", "<names>", "kernel parameters that Kubernetes does not call safe"],
  ["unconfined", "<what>", "containers without a filter: seccomp or apparmor"],
  ["port", "<ports>", "ports of the machine below 1024"],
] as const;

/** Adds the options; a list of anything but paths is written with commas, or the option again. */
export function addPermissionOptions(command: Command): Command {
  command.option("-A, --allow-all", "allow the manifest everything it asks for");
  for (const [name, what] of PLAIN) command.option(`--allow-${name}`, `allow ${what}`);
  for (const [name, value, what] of WITH_VALUES) {
    const parser = name === "host-path" ? collectWhole : collect;
    command.addOption(new Option(`--allow-${name} ${value}`, `allow ${what}`).argParser(parser));
  }
  return command;
}

function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  const values = text.split(",");
  if (values.includes("")) throw new InvalidArgumentError("expected values with commas between them.");
  return [...(before ?? []), ...values];
}

/** A path may have commas of its own. */
function collectWhole(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** The permissions that the options give, as the daemon takes them. */
export function permissionsOf(options: PermissionOptions): string[] {
  const given = (name: string) =>
    (options as Readonly<Record<string, unknown>>)[
      `allow-${name}`.replace(/-([a-z])/g, (dash) => dash.slice(1).toUpperCase())
    ];
  return [
    ...(options.allowAll ? ["all"] : []),
    ...PLAIN.flatMap(([name]) => (given(name) === true ? [name] : [])),
    ...WITH_VALUES.flatMap(([name]) =>
      ((given(name) as readonly string[] | undefined) ?? []).map((value) => `${name}=${value}`),
    ),
  ];
}

/**
 * Asks whoever sits at the terminal, once, whether the manifest may have what it needs; the permissions
 * if so. PermissionDeniedError that names each option otherwise, and where there is nobody to ask.
 */
export async function askFor(needs: readonly Need[], io: Io): Promise<string[]> {
  const lines = needs.map(({ place, permission, why }) => `${place}: needs --allow-${permission}: ${why}`);
  const refusal = `${lines.join("\n")}\nnothing was run; add the options, or -A for all of them, if you trust the manifest`;
  if (!canAsk(io)) throw new PermissionDeniedError(refusal);
  for (const line of lines) await io.err(`podrt: ${line}\n`);
  if (await confirm(io, "Allow this?")) return needs.map(({ permission }) => permission);
  throw new PermissionDeniedError("nothing was run, since it was not allowed");
}
