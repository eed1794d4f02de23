// SPDX-License-Identifier: Apache-2.0
import {
  type ContainerConfig,
  NamespaceMode,
  type PodSandboxConfig,
  SecurityProfile_ProfileType as ProfileType,
  type SecurityProfile,
} from "../../gen/runtime/v1/api_pb.ts";
import { SAFE_SYSCTLS } from "../../kube/permissions.ts";

/** A rule of the Kubernetes Pod Security Standards that a container does not keep. */
export interface Violation {
  readonly level: "baseline" | "restricted";
  /** As the standards name it: `Host Namespaces`. */
  readonly rule: string;
  /** What of the container breaks it, and the field that would mend it. */
  readonly why: string;
}

export interface Judged {
  readonly sandbox: PodSandboxConfig;
  readonly container: ContainerConfig;
  /** Paths of the host that are mounted in it and are no volumes of the pod's own. */
  readonly hostPaths: readonly string[];
  /** Of its process; undefined where it does not run and nothing is known. */
  readonly uid: number | undefined;
  /** Whether its volumes have images among them. */
  readonly imageVolumes: readonly string[];
}

// https://kubernetes.io/docs/concepts/security/pod-security-standards/
const BASELINE_CAPABILITIES: ReadonlySet<string> = new Set([
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_BIND_SERVICE",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
]);
const SELINUX_TYPES: ReadonlySet<string> = new Set([
  "",
  "container_t",
  "container_init_t",
  "container_kvm_t",
  "container_engine_t",
]);

/** Every rule that the container breaks, those of baseline first; restricted has baseline's as well. */
export function violations(judged: Judged): Violation[] {
  return [...baseline(judged), ...restricted(judged)];
}

function baseline({ sandbox, container, hostPaths }: Judged): Violation[] {
  const security = container.linux?.securityContext;
  const options = sandbox.linux?.securityContext?.namespaceOptions;
  const found: Violation[] = [];
  const broken = (rule: string, why: string) => void found.push({ level: "baseline", rule, why });
  for (const [field, name] of [
    ["network", "hostNetwork"],
    ["pid", "hostPID"],
    ["ipc", "hostIPC"],
  ] as const) {
    const isShared = (options?.[field] ?? NamespaceMode.POD) === NamespaceMode.NODE;
    if (isShared) broken("Host Namespaces", `${name} is true`);
  }
  if (security?.privileged) broken("Privileged Containers", "securityContext.privileged is true");
  const added = namesOf(security?.capabilities?.addCapabilities);
  const beyond = added.filter((name) => !BASELINE_CAPABILITIES.has(name));
  if (beyond.length > 0) broken("Capabilities", `capabilities.add has ${beyond.join(", ")}`);
  for (const path of hostPaths) broken("HostPath Volumes", `${path} of the machine is mounted`);
  const ports = sandbox.portMappings.filter(({ hostPort }) => hostPort > 0).map(({ hostPort }) => hostPort);
  if (ports.length > 0) broken("Host Ports", `ports of the machine are taken: ${ports.join(", ")}`);
  if (security?.apparmor?.profileType === ProfileType.Unconfined && !security.privileged)
    broken("AppArmor", "appArmorProfile.type is Unconfined");
  const selinux = security?.selinuxOptions;
  if (!SELINUX_TYPES.has(selinux?.type ?? "")) broken("SELinux", `seLinuxOptions.type is ${selinux!.type}`);
  if ((selinux?.user ?? "") !== "" || (selinux?.role ?? "") !== "")
    broken("SELinux", "seLinuxOptions has a user or a role");
  const isUnmasked = (security?.maskedPaths.length ?? 0) === 0 && !security?.privileged;
  if (isUnmasked) broken("/proc Mount Type", "procMount is not Default: nothing of /proc is hidden");
  if (!security?.privileged && isUnconfined(security?.seccomp, security?.seccompProfilePath))
    broken("Seccomp", "its system calls are not filtered; seccompProfile.type must not be Unconfined");
  const unsafe = Object.keys(sandbox.linux?.sysctls ?? {}).filter((name) => !SAFE_SYSCTLS.has(name));
  if (unsafe.length > 0) broken("Sysctls", `sysctls has ${unsafe.join(", ")}`);
  return found;
}

function restricted({ container, uid, imageVolumes }: Judged): Violation[] {
  const security = container.linux?.securityContext;
  const found: Violation[] = [];
  const broken = (rule: string, why: string) => void found.push({ level: "restricted", rule, why });
  if (imageVolumes.length > 0) broken("Volume Types", `an image is mounted on ${imageVolumes.join(", ")}`);
  if (!security?.noNewPrivs) broken("Privilege Escalation", "allowPrivilegeEscalation is not false");
  if (uid === 0 || security?.runAsUser?.value === 0n)
    broken("Running as Non-root", "it runs as root; runAsNonRoot and runAsUser would see to that");
  const dropped = namesOf(security?.capabilities?.dropCapabilities);
  if (!dropped.includes("ALL")) broken("Capabilities", "capabilities.drop has not ALL");
  const added = namesOf(security?.capabilities?.addCapabilities).filter(
    (name) => name !== "NET_BIND_SERVICE",
  );
  if (added.length > 0)
    broken("Capabilities", `capabilities.add has more than NET_BIND_SERVICE: ${added.join(", ")}`);
  return found;
}

function namesOf(capabilities: readonly string[] | undefined): string[] {
  return (capabilities ?? []).map((name) => name.toUpperCase().replace(/^CAP_/, ""));
}

function isUnconfined(profile: SecurityProfile | undefined, path: string | undefined): boolean {
  if (profile !== undefined) return profile.profileType === ProfileType.Unconfined;
  return path === undefined || path === "" || path === "unconfined";
}
