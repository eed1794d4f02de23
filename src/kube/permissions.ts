// SPDX-License-Identifier: Apache-2.0
import { posix } from "node:path";
import { InvalidArgumentError } from "../errors.ts";
import { type CapabilityName, DEFAULT_CAPABILITIES } from "../linux/capability.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";
import type { SecurityContextSpec } from "./manifest/security-fields.ts";
import type { Pod } from "./pod.ts";

/*
 * What a manifest may not have of the host unless the person who runs it says so. A permission is text:
 * a name, and for some a value after `=`, as in `host-network` or `host-path=/srv/data:ro`; the command's
 * option is `--allow-` and that text. The CRI is not touched by this: there the kubelet decides.
 */

/** What a permission begins with. */
export const PERMISSION_NAMES = [
  "all",
  "cap",
  "host-ipc",
  "host-network",
  "host-path",
  "host-pid",
  "port",
  "privileged",
  "selinux",
  "sysctl",
  "unconfined",
] as const;
const WITH_VALUE: ReadonlySet<string> = new Set(["cap", "host-path", "port", "sysctl", "unconfined"]);
const MAX_PERMISSIONS = 256;
const FIRST_FREE_PORT = 1024;

/** What a pod's spec asks for that is not anybody's to have. */
export interface Need {
  /** The narrowest permission that would do. */
  readonly permission: string;
  /** Of the field that asks. */
  readonly path: string;
  /** What the container could do with it, in words. */
  readonly why: string;
}

/** The sysctls that Kubernetes calls safe: of the pod's own namespaces, and of no harm beyond (kubelet, safe sysctls). */
export const SAFE_SYSCTLS: ReadonlySet<string> = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ping_group_range",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.tcp_wmem",
]);

/** Everything that the spec needs a permission for, in the order of its fields, each once. */
export function needsOf(spec: PodSpec): Need[] {
  const needs = [
    ...ofNamespaces(spec),
    ...ofContainers(spec),
    ...ofHostPaths(spec),
    ...ofContext(spec.securityContext, "spec.securityContext"),
    ...ofSysctls(spec),
  ];
  return needs.filter(
    ({ permission }, index) => needs.findIndex((other) => other.permission === permission) === index,
  );
}

function ofNamespaces({ hostNetwork, hostPID, hostIPC }: PodSpec): Need[] {
  const why = {
    "host-network": "it listens on the machine's addresses and reaches what listens on its loopback",
    "host-pid": "it sees every process of the machine and, as root, may stop any",
    "host-ipc": "it shares memory and queues with the machine's processes",
  };
  return [
    ...(hostNetwork ? [need("host-network", "spec.hostNetwork", why["host-network"])] : []),
    ...(hostPID ? [need("host-pid", "spec.hostPID", why["host-pid"])] : []),
    ...(hostIPC ? [need("host-ipc", "spec.hostIPC", why["host-ipc"])] : []),
  ];
}

function ofContainers(spec: PodSpec): Need[] {
  return eachContainer(spec).flatMap(([container, path]) => {
    const context = container.securityContext;
    const at = `${path}.securityContext`;
    const ports = (container.ports ?? []).flatMap(({ hostPort }, index) =>
      hostPort === undefined || hostPort >= FIRST_FREE_PORT || spec.hostNetwork
        ? []
        : [
            need(
              `port=${hostPort}`,
              `${path}.ports[${index}].hostPort`,
              "it takes a port that is kept for the machine's own services",
            ),
          ],
    );
    // Whoever is privileged needs no more.
    if (context?.privileged) {
      const why = "it can do to the machine whatever root can";
      return [need("privileged", `${at}.privileged`, why), ...ports];
    }
    return [...ofCapabilities(container, at), ...ofContext(context, at), ...ports];
  });
}

function ofCapabilities({ securityContext }: ContainerSpec, at: string): Need[] {
  const usual: ReadonlySet<string> = new Set(DEFAULT_CAPABILITIES);
  return (securityContext?.capabilities?.add ?? []).flatMap((name, index) =>
    usual.has(name)
      ? []
      : [
          need(
            `cap=${name as CapabilityName}`,
            `${at}.capabilities.add[${index}]`,
            "it may do more than root in a container usually may",
          ),
        ],
  );
}

function ofContext(
  context: Pick<SecurityContextSpec, "seccompProfile" | "appArmorProfile" | "seLinuxOptions"> | undefined,
  at: string,
): Need[] {
  const { seccompProfile, appArmorProfile, seLinuxOptions } = context ?? {};
  const why = "its system calls are not filtered";
  return [
    ...(seccompProfile?.type === "Unconfined"
      ? [need("unconfined=seccomp", `${at}.seccompProfile.type`, why)]
      : []),
    ...(appArmorProfile?.type === "Unconfined"
      ? [need("unconfined=apparmor", `${at}.appArmorProfile.type`, "AppArmor does not confine it")]
      : []),
    ...(seLinuxOptions === undefined
      ? []
      : [need("selinux", `${at}.seLinuxOptions`, "it chooses its own SELinux context")]),
  ];
}

function ofHostPaths(spec: PodSpec): Need[] {
  return (spec.volumes ?? []).flatMap(({ name, hostPath }, index) => {
    if (hostPath === undefined) return [];
    const mounts = eachContainer(spec).flatMap(([container]) =>
      (container.volumeMounts ?? []).filter((mount) => mount.name === name),
    );
    const isMade = hostPath.type?.endsWith("OrCreate") ?? false;
    const isRead = !isMade && mounts.every(({ readOnly }) => readOnly === true);
    const path = posix.normalize(hostPath.path).replace(/(?<=.)\/$/, "");
    return mounts.length === 0 && !isMade
      ? []
      : [
          need(
            `host-path=${path}${isRead ? ":ro" : ""}`,
            `spec.volumes[${index}].hostPath`,
            `it ${isRead ? "reads" : "reads and writes"} the machine's files there`,
          ),
        ];
  });
}

function ofSysctls({ securityContext }: PodSpec): Need[] {
  return (securityContext?.sysctls ?? []).flatMap(({ name }, index) => {
    const dotted = name.replaceAll("/", ".");
    return SAFE_SYSCTLS.has(dotted)
      ? []
      : [
          need(
            `sysctl=${dotted}`,
            `spec.securityContext.sysctls[${index}].name`,
            "it may burden others on the machine",
          ),
        ];
  });
}

function need(permission: string, path: string, why: string): Need {
  return { permission, path, why };
}

function eachContainer(spec: PodSpec): [container: ContainerSpec, path: string][] {
  return (["initContainers", "containers"] as const).flatMap((field) =>
    (spec[field] ?? []).map((container, index): [ContainerSpec, string] => [
      container,
      `spec.${field}[${index}]`,
    ]),
  );
}

/** InvalidArgument with the path of the first that is none. */
export function checkPermissions(permissions: readonly string[], field: string): void {
  if (permissions.length > MAX_PERMISSIONS) {
    throw new InvalidArgumentError(field, `has more than ${MAX_PERMISSIONS} permissions`);
  }
  permissions.forEach((permission, index) => {
    const { name, value } = partsOf(permission);
    const at = `${field}[${index}]`;
    if (!PERMISSION_NAMES.includes(name as (typeof PERMISSION_NAMES)[number])) {
      throw new InvalidArgumentError(
        at,
        `there is no permission ${JSON.stringify(name)}; they are ${PERMISSION_NAMES.join(", ")}`,
      );
    }
    if (WITH_VALUE.has(name) !== (value !== undefined && value !== "")) {
      const form = WITH_VALUE.has(name) ? "needs a value, as in" : "takes no value:";
      throw new InvalidArgumentError(at, `${name} ${form} ${name}${WITH_VALUE.has(name) ? "=…" : ""}`);
    }
    if (name === "host-path" && !value!.startsWith("/")) {
      throw new InvalidArgumentError(at, `the path of ${permission} must begin at the root`);
    }
  });
}

/** Whether one of the permissions given covers what is needed. */
export function isCovered(needed: string, given: readonly string[]): boolean {
  return given.some((permission) => covers(permission, needed));
}

function covers(given: string, needed: string): boolean {
  if (given === "all" || given === needed) return true;
  const { name, value = "" } = partsOf(given);
  const wanted = partsOf(needed);
  if (name !== wanted.name) return false;
  if (name === "cap") return value === "ALL" || value === wanted.value;
  if (name !== "host-path") return false;
  const [tree, isReadOnly] = pathOf(value);
  const [path, isRead] = pathOf(wanted.value ?? "");
  return (!isReadOnly || isRead) && isBelow(path, tree);
}

/** The pod with those of the permissions that it needs. */
export function permittedPod(pod: Pod, given: readonly string[]): Pod {
  const needed = needsOf(pod.spec).map(({ permission }) => permission);
  const used = given.filter((permission) => needed.some((need) => covers(permission, need)));
  return used.length === 0 ? pod : { ...pod, permissions: used };
}

/** The tree of a given permission in which `path` lies; undefined where all is allowed or the path itself is named. */
export function allowedTree(path: string, given: readonly string[]): string | undefined {
  if (given.includes("all")) return undefined;
  const trees = given
    .map(partsOf)
    .filter(({ name }) => name === "host-path")
    .map(({ value = "" }) => pathOf(value)[0]);
  const plain = posix.normalize(path).replace(/(?<=.)\/$/, "");
  return trees.includes(plain) ? undefined : trees.find((tree) => isBelow(plain, tree));
}

function isBelow(path: string, tree: string): boolean {
  return tree === "/" || path === tree || path.startsWith(`${tree}/`);
}

function pathOf(value: string): [path: string, isReadOnly: boolean] {
  const isReadOnly = value.endsWith(":ro");
  const path = isReadOnly ? value.slice(0, -3) : value;
  return [posix.normalize(path).replace(/(?<=.)\/$/, ""), isReadOnly];
}

function partsOf(permission: string): { readonly name: string; readonly value: string | undefined } {
  const equals = permission.indexOf("=");
  return equals < 0
    ? { name: permission, value: undefined }
    : { name: permission.slice(0, equals), value: permission.slice(equals + 1) };
}
