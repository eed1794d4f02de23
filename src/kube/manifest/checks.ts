// SPDX-License-Identifier: Apache-2.0
import { allContainers, isSidecar } from "../container-order.ts";
import type { ContainerSpec } from "./container-fields.ts";
import type { PodManifest } from "./fields.ts";
import { nearMiss } from "./near-miss.ts";
import { checkPodResources, checkResources } from "./resource-checks.ts";
import { checkRestartRules } from "./restart-checks.ts";
import type { SecurityContextSpec } from "./security-fields.ts";
import { checkUserNamespace } from "./user-namespace-checks.ts";
import { checkEnvironment } from "./value-checks.ts";
import { checkVolume } from "./volume-checks.ts";

/** Tells of a problem with the field at `path`. */
export type Report = (path: string, message: string) => void;
type Check = (pod: PodManifest, report: Report) => void;
type ContainerCheck = (container: ContainerSpec, path: string, pod: PodManifest, report: Report) => void;

/** What is wrong with a Pod although each of its fields is right by itself. */
export function checkPod(pod: PodManifest, report: Report): void {
  for (const check of POD_CHECKS) check(pod, report);
  eachContainer(pod, (container, path) => {
    for (const check of CONTAINER_CHECKS) check(container, path, pod, report);
  });
}

const POD_CHECKS: readonly Check[] = [
  (pod, report) => {
    const { volumes } = pod.spec;
    const paths: string[] = [];
    eachContainer(pod, (_container, path) => paths.push(path));
    reportRepeated(
      allContainers(pod.spec).map(({ name }) => name),
      (index) => `${paths[index]}.name`,
      report,
    );
    reportRepeated(
      (volumes ?? []).map(({ name }) => name),
      (index) => `spec.volumes[${index}].name`,
      report,
    );
  },
  (pod, report) => {
    pod.spec.volumes?.forEach((volume, index) => {
      checkVolume(volume, `spec.volumes[${index}]`, pod.spec, report);
    });
  },
  (pod, report) => {
    if (pod.spec.hostPID && pod.spec.shareProcessNamespace) {
      report("spec.shareProcessNamespace", "cannot be combined with hostPID");
    }
  },
  ({ spec }, report) => checkUserNamespace(spec, report),
  ({ spec }, report) => checkPodResources(spec, report),
  ({ spec }, report) => {
    if (spec.hostnameOverride === undefined) return;
    if (spec.setHostnameAsFQDN) report("spec.hostnameOverride", "cannot be combined with setHostnameAsFQDN");
    if (spec.hostNetwork) report("spec.hostnameOverride", "cannot be combined with hostNetwork");
  },
  ({ spec }, report) => {
    if (spec.dnsPolicy === "None" && (spec.dnsConfig?.nameservers ?? []).length === 0) {
      report("spec.dnsConfig.nameservers", "needs at least one server when dnsPolicy is None");
    }
  },
  (pod, report) => {
    const seen = new Set<string>();
    eachPort(pod, (port, path) => {
      if (port.hostPort === undefined) return;
      const key = `${port.hostPort}/${port.protocol ?? "TCP"}/${port.hostIP ?? ""}`;
      if (seen.has(key)) report(`${path}.hostPort`, `the host's port ${port.hostPort} is given twice`);
      seen.add(key);
      if (pod.spec.hostNetwork && port.hostPort !== port.containerPort) {
        report(`${path}.hostPort`, "must equal containerPort when hostNetwork is true");
      }
    });
  },
  ({ spec }, report) => {
    checkProfiles(spec.securityContext, "spec.securityContext", report);
    spec.securityContext?.sysctls?.forEach(({ name }, index) => {
      const path = `spec.securityContext.sysctls[${index}].name`;
      const dotted = name.replaceAll("/", ".");
      if (spec.hostNetwork && dotted.startsWith("net.")) report(path, "would change the host's network");
      else if (spec.hostIPC && !dotted.startsWith("net."))
        report(path, "would change the host's IPC settings");
    });
  },
];

const PROBES = ["livenessProbe", "readinessProbe", "startupProbe"] as const;

const CONTAINER_CHECKS: readonly ContainerCheck[] = [
  (container, path, pod, report) => checkEnvironment(container, path, pod.spec, report),
  (container, path, pod, report) => checkRestartRules(container, path, pod.spec, report),
  (container, path, pod, report) => {
    const volumes = new Set((pod.spec.volumes ?? []).map(({ name }) => name));
    const mounts = container.volumeMounts ?? [];
    mounts.forEach((mount, index) => {
      const mountPath = `${path}.volumeMounts[${index}]`;
      if (!volumes.has(mount.name)) {
        const meant = nearMiss(mount.name, volumes);
        const hint = meant === undefined ? "add it there" : `did you mean ${meant}?`;
        report(
          `${mountPath}.name`,
          `there is no volume ${JSON.stringify(mount.name)} in spec.volumes; ${hint}`,
        );
      }
      if (mount.subPath !== undefined && mount.subPathExpr !== undefined) {
        report(`${mountPath}.subPathExpr`, "cannot be combined with subPath");
      }
      if ((mount.recursiveReadOnly ?? "Disabled") !== "Disabled") {
        const at = `${mountPath}.recursiveReadOnly`;
        if (!mount.readOnly) report(at, "needs readOnly: true");
        if ((mount.mountPropagation ?? "None") !== "None")
          report(at, "cannot be combined with mountPropagation");
      }
      if (mount.mountPropagation === "Bidirectional" && !container.securityContext?.privileged) {
        report(`${mountPath}.mountPropagation`, "Bidirectional needs a privileged container");
      }
    });
    reportRepeated(
      mounts.map(({ mountPath }) => mountPath.replace(/(?<=.)\/+$/, "")),
      (index) => `${path}.volumeMounts[${index}].mountPath`,
      report,
    );
  },
  ({ resources }, path, _pod, report) => checkResources(resources, `${path}.resources`, report),
  (container, path, pod, report) => {
    const context = container.securityContext;
    checkProfiles(context, `${path}.securityContext`, report);
    const user = context?.runAsUser ?? pod.spec.securityContext?.runAsUser;
    if ((context?.runAsNonRoot ?? pod.spec.securityContext?.runAsNonRoot) && user === 0) {
      report(`${path}.securityContext.runAsNonRoot`, "contradicts runAsUser 0");
    }
    const escalates = context?.privileged || context?.capabilities?.add?.includes("SYS_ADMIN");
    if (escalates && context?.allowPrivilegeEscalation === false) {
      report(
        `${path}.securityContext.allowPrivilegeEscalation`,
        "cannot be false for a container that is privileged or has SYS_ADMIN",
      );
    }
  },
  (container, path, _pod, report) => {
    const names = (container.ports ?? []).flatMap(({ name }) => (name === undefined ? [] : [name]));
    if (new Set(names).size < names.length) report(`${path}.ports`, "has two ports of the same name");
  },
  (container, path, pod, report) => {
    if (!(pod.spec.initContainers ?? []).includes(container) || isSidecar(container)) return;
    for (const field of ["lifecycle", ...PROBES] as const) {
      if (container[field] === undefined) continue;
      report(`${path}.${field}`, "needs restartPolicy Always, which makes the init container a sidecar");
    }
  },
  (container, path, _pod, report) => {
    for (const name of PROBES) checkProbe(container, name, `${path}.${name}`, report);
    for (const name of ["postStart", "preStop"] as const) {
      checkHook(container, name, `${path}.lifecycle.${name}`, report);
    }
  },
  (container, path, _pod, report) => {
    if (container.stdinOnce && !container.stdin) report(`${path}.stdinOnce`, "needs stdin to be true");
  },
];

function checkProbe(
  container: ContainerSpec,
  name: (typeof PROBES)[number],
  path: string,
  report: Report,
): void {
  const probe = container[name];
  if (probe === undefined) return;
  const actions = (["exec", "httpGet", "tcpSocket", "grpc"] as const).filter(
    (action) => probe[action] !== undefined,
  );
  if (actions.length !== 1) report(path, "needs one of exec, httpGet, tcpSocket and grpc, and no more");
  for (const action of ["httpGet", "tcpSocket"] as const) {
    checkPortName(probe[action]?.port, container, `${path}.${action}.port`, report);
  }
  if (name !== "readinessProbe" && (probe.successThreshold ?? 1) !== 1) {
    report(`${path}.successThreshold`, "must be 1, except for a readinessProbe");
  }
  if (name === "readinessProbe" && probe.terminationGracePeriodSeconds !== undefined) {
    report(`${path}.terminationGracePeriodSeconds`, "has no meaning: a readinessProbe ends nothing");
  }
}

function checkHook(
  container: ContainerSpec,
  name: "postStart" | "preStop",
  path: string,
  report: Report,
): void {
  const hook = container.lifecycle?.[name];
  if (hook === undefined) return;
  const actions = (["exec", "httpGet", "sleep"] as const).filter((action) => hook[action] !== undefined);
  if (actions.length !== 1) report(path, "needs one of exec, httpGet and sleep, and no more");
  checkPortName(hook.httpGet?.port, container, `${path}.httpGet.port`, report);
}

function checkPortName(
  port: number | string | undefined,
  container: ContainerSpec,
  path: string,
  report: Report,
): void {
  if (typeof port !== "string" || container.ports?.some(({ name }) => name === port)) return;
  const names = (container.ports ?? []).flatMap(({ name }) => (name === undefined ? [] : [name]));
  const meant = nearMiss(port, names);
  const hint = meant === undefined ? "give its number, or name it in ports" : `did you mean ${meant}?`;
  report(path, `the container has no port of the name ${JSON.stringify(port)}; ${hint}`);
}

function checkProfiles(
  context: Pick<SecurityContextSpec, "seccompProfile" | "appArmorProfile"> | undefined,
  path: string,
  report: Report,
): void {
  for (const name of ["seccompProfile", "appArmorProfile"] as const) {
    const profile = context?.[name];
    if (profile === undefined) continue;
    const at = `${path}.${name}.localhostProfile`;
    if (profile.type === "Localhost" && profile.localhostProfile === undefined) {
      report(at, "is required when type is Localhost");
    }
    if (profile.type !== "Localhost" && profile.localhostProfile !== undefined) {
      report(at, "is only allowed when type is Localhost");
    }
  }
}

function eachPort(
  pod: PodManifest,
  visit: (port: NonNullable<ContainerSpec["ports"]>[number], path: string) => void,
): void {
  eachContainer(pod, (container, path) => {
    container.ports?.forEach((port, index) => {
      visit(port, `${path}.ports[${index}]`);
    });
  });
}

/** In the order of `allContainers`. */
function eachContainer(pod: PodManifest, visit: (container: ContainerSpec, path: string) => void): void {
  for (const field of ["initContainers", "containers"] as const) {
    pod.spec[field]?.forEach((container, index) => {
      visit(container, `spec.${field}[${index}]`);
    });
  }
}

function reportRepeated(values: readonly string[], path: (index: number) => string, report: Report): void {
  const seen = new Set<string>();
  values.forEach((value, index) => {
    if (seen.has(value)) report(path(index), `${JSON.stringify(value)} is given twice; choose another`);
    seen.add(value);
  });
}
