// SPDX-License-Identifier: Apache-2.0
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import {
  type ContainerConfig,
  ContainerConfigSchema,
  NamespaceMode,
  type PodSandboxConfig,
  SecurityProfile_ProfileType as ProfileType,
} from "../../gen/runtime/v1/api_pb.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { type ProcessConfinement, unmasked, writable } from "./process-confinement.ts";
import { type Violation, violations } from "./standards.ts";

/** One thing that confines a container: what its configuration asks for, and what its process has. */
export interface PolicyRow {
  readonly what: string;
  readonly asked: string;
  /** `-` where it does not run. */
  readonly got: string;
  readonly differs: boolean;
}

export interface ContainerPolicy {
  /** As in `demo/app1`. */
  readonly name: string;
  readonly id: string;
  /** 0 where it does not run. */
  readonly pid: number;
  readonly rows: readonly PolicyRow[];
  readonly violations: readonly Violation[];
}

/** What the daemon tells of one container and its pod. */
export interface Told {
  readonly name: string;
  readonly id: string;
  readonly info: { readonly pid: number; readonly config: JsonValue; readonly runtimeSpec: RuntimeSpec };
  readonly sandbox: PodSandboxConfig;
  /** Whether a path of the machine is a volume of the pod's own, such as an emptyDir. */
  isPodsOwn(path: string): boolean;
}

export function containerPolicy(told: Told, got: ProcessConfinement | undefined): ContainerPolicy {
  const { name, id, info, sandbox, isPodsOwn } = told;
  const container = fromJson(ContainerConfigSchema, info.config, { ignoreUnknownFields: true });
  const mounted = container.mounts.filter(({ image }) => image === undefined).map(({ hostPath }) => hostPath);
  return {
    name,
    id,
    pid: got?.pid ?? 0,
    rows: rowsOf(info.runtimeSpec, container, sandbox, got),
    violations: violations({
      sandbox,
      container,
      hostPaths: mounted.filter((path) => !isPodsOwn(path)),
      uid: info.runtimeSpec.process.user.uid,
      imageVolumes: container.mounts
        .filter(({ image }) => image !== undefined)
        .map(({ containerPath }) => containerPath),
    }),
  };
}

function rowsOf(
  { process, linux }: RuntimeSpec,
  config: ContainerConfig,
  sandbox: PodSandboxConfig,
  got: ProcessConfinement | undefined,
): PolicyRow[] {
  const rows: PolicyRow[] = [];
  const row = (what: string, asked: string, actual: (got: ProcessConfinement) => string) => {
    const has = got === undefined ? "-" : actual(got);
    rows.push({ what, asked, got: has, differs: got !== undefined && has !== asked });
  };
  const inside = (map: readonly string[], id: number) => String(insideOf(map, id));
  row("user", String(process.user.uid), ({ uid, uidMap }) => inside(uidMap, uid));
  row("group", String(process.user.gid), ({ gid, gidMap }) => inside(gidMap, gid));
  row("more groups", list(process.user.additionalGids.map(String)), ({ groups, gidMap }) =>
    list(groups.map((id) => inside(gidMap, id))),
  );
  for (const set of ["effective", "permitted", "bounding", "inheritable", "ambient"] as const) {
    const asked = process.capabilities[set].map((name) => name.replace(/^CAP_/, ""));
    // A user that is not root has none effective, whatever it was to have.
    const isDropped = process.user.uid !== 0 && (set === "effective" || set === "permitted");
    const kept = isDropped
      ? asked.filter((name) => process.capabilities.ambient.includes(`CAP_${name}`))
      : asked;
    row(`capabilities, ${set}`, list(kept), ({ capabilities }) => list(capabilities[set]));
  }
  row("no_new_privs", yes(process.noNewPrivileges), (has) => yes(has.noNewPrivileges));
  row("seccomp", seccompAsked(config), (has) => has.seccomp);
  row("masked paths", `${linux.maskedPaths.length} hidden`, (has) =>
    amiss(linux.maskedPaths, (path) => unmasked(has, path), "hidden"),
  );
  row("read-only paths", `${linux.readonlyPaths.length} read-only`, (has) =>
    amiss(linux.readonlyPaths, (path) => writable(has, path), "read-only"),
  );
  const maps = { uid: linux.uidMappings, gid: linux.gidMappings };
  for (const kind of ["uid", "gid"] as const) {
    const asked = maps[kind]?.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`);
    row(`${kind} map`, list(asked ?? [HOST_MAP]), (has) => list(kind === "uid" ? has.uidMap : has.gidMap));
  }
  const label = process.apparmorProfile ?? process.selinuxLabel ?? "";
  row("security label", label === "" ? "none" : label, (has) => labelOf(has.label, label));
  row("namespaces of the host", list(hostNamespacesAsked(linux, sandbox)), (has) => list(has.hostNamespaces));
  if (got !== undefined) {
    const asked = `${linux.devices.length} made`;
    rows.push({ what: "devices in /dev", asked, got: list(got.devices), differs: false });
  }
  return rows;
}

/** The identity mapping of the host's user namespace. */
const HOST_MAP = "0 0 4294967295";

/** The kernel shows ids of other user namespaces in the reader's; this is the id inside. */
function insideOf(map: readonly string[], id: number): number {
  for (const line of map) {
    const [inside = 0, outside = 0, count = 0] = line.split(" ").map(Number);
    if (id >= outside && id < outside + count) return inside + id - outside;
  }
  return id;
}

/** With the mode of AppArmor, as in `podrt-default (enforce)`, or the context of SELinux. */
function labelOf(label: string, asked: string): string {
  const name = label.replace(/ \((enforce|complain|kill|mixed)\)$/, "");
  if (name === "" || name === "unconfined") return "none";
  return name === asked ? asked : label;
}

/** What the container shares with the machine: what its pod does, and what it has none of its own of. */
function hostNamespacesAsked({ namespaces }: RuntimeSpec["linux"], sandbox: PodSandboxConfig): string[] {
  const options = sandbox.linux?.securityContext?.namespaceOptions;
  const own = new Set(namespaces.map(({ type }) => type));
  return [
    ...(["cgroup", "pid", "user"] as const).filter((type) => !own.has(type)),
    ...(options?.network === NamespaceMode.NODE ? ["net", "uts"] : []),
    ...(options?.ipc === NamespaceMode.NODE ? ["ipc"] : []),
  ];
}

function amiss(paths: readonly string[], check: (path: string) => string | undefined, word: string): string {
  const problems = paths.flatMap((path) => check(path) ?? []);
  return problems.length === 0 ? `${paths.length} ${word}` : problems.join("; ");
}

function seccompAsked(config: ContainerConfig): string {
  const security = config.linux?.securityContext;
  const { seccomp, seccompProfilePath = "" } = security ?? {};
  const isLegacyFree = seccompProfilePath === "" || seccompProfilePath === "unconfined";
  const isOff =
    security?.privileged ||
    (seccomp === undefined ? isLegacyFree : seccomp.profileType === ProfileType.Unconfined);
  return isOff ? "off" : "filter";
}

function yes(flag: boolean): string {
  return flag ? "yes" : "no";
}

function list(items: readonly string[]): string {
  return items.length === 0 ? "none" : items.toSorted().join(", ");
}
