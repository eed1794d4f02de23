// SPDX-License-Identifier: Apache-2.0
import { dirname, join } from "node:path";
import { checkSandboxFor } from "../../container/oci/handler.ts";
import { PAUSE_TAG } from "../../container/records.ts";
import { cgroupResources } from "../../container/resources.ts";
import type { Runtime } from "../../container/runtime.ts";
import { commonFileLabel } from "../../container/security/selinux.ts";
import { availableCapabilities, podIdMappings, rootMountPoint } from "../../container/user-namespace.ts";
import { messageOf } from "../../errors.ts";
import { type PodSandboxConfig, Protocol } from "../../gen/runtime/v1/api_pb.ts";
import { newListedFds } from "../../launch/listed-fds.ts";
import { type ListedProgramTable, listProgram } from "../../launch/program-listing.ts";
import { sandboxProgram } from "../../launch/sandbox-program.ts";
import { openBareMounts } from "../../sandbox/bare-mounts.ts";
import { identityForPause } from "../../sandbox/pause-identity.ts";
import { placeOfPod } from "../../sandbox/pod-cgroup.ts";
import { DEFAULT_OOM_SCORE, labelsFor, namespacesOf, newRecord } from "../../sandbox/run.ts";
import { sandboxSysctls } from "../../sandbox/sysctls.ts";
import type { SandboxRecord } from "../../state/sandboxes.ts";
import { allContainers } from "../container-order.ts";
import { needsOf } from "../permissions.ts";
import { type Pod, type PodHome, podKey } from "../pod.ts";
import { sandboxConfig } from "../to-cri.ts";
import { type CgroupPlan, cgroupPlan, listedPlace, SANDBOX_ID } from "./cgroup-plan.ts";
import { type ContainerPlan, explainContainer, type ImagePlan, imagePlan } from "./explain-container.ts";
import { NOBODY_ASKED, type RegistryAnswers, wantedBy } from "./registry-answers.ts";

/** What would be done for a pod, in the order in which it would be. */
export interface PodPlan {
  /** As in `default/web`. */
  readonly name: string;
  readonly owner: string;
  /** What it needs of the host. */
  readonly permissions: readonly { readonly permission: string; readonly why: string }[];
  readonly sandbox: SandboxPlan;
  /** Images that are volumes. */
  readonly volumeImages: readonly (ImagePlan & { readonly volume: string })[];
  readonly containers: readonly ContainerPlan[];
}

export interface SandboxPlan {
  readonly hostname: string;
  readonly directory: string;
  /** Those that the pause makes; the others are the host's. */
  readonly newNamespaces: readonly string[];
  readonly cgroup: CgroupPlan;
  /** The one around those of the pause and the containers, where podrt makes it, with the limits of the whole pod. */
  readonly podCgroup: CgroupPlan | undefined;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly network: readonly string[];
  readonly program: readonly ListedProgramTable[];
  /** Why there is no program though nothing is amiss. */
  readonly unlisted?: string;
  /** Why it cannot be made as things are; then there is no program. */
  readonly problem?: string;
}

/** Says what would be done for `pod` on this machine, and does nothing of it. */
export function explainPod(
  runtime: Runtime,
  pod: Pod,
  home: PodHome,
  answers: RegistryAnswers = NOBODY_ASKED,
): PodPlan {
  const config = sandboxConfig(pod, 0, home);
  const handler = pod.spec.runtimeClassName ?? "";
  const record = {
    ...newRecord(runtime, config, handler, undefined, labelsFor(runtime, config)),
    id: SANDBOX_ID,
    ...placeOfPod(runtime, SANDBOX_ID, config),
  };
  return {
    name: podKey(pod),
    owner: pod.owner ?? "",
    permissions: needsOf(pod.spec).map(({ permission, why }) => ({ permission, why })),
    sandbox: explainSandbox(runtime, pod, config, record),
    volumeImages: (pod.spec.volumes ?? []).flatMap(({ name }) => {
      const wanted = wantedBy(pod).find(({ user }) => user === `volume ${name}`);
      return wanted === undefined ? [] : [{ volume: name, ...imagePlan(runtime, pod, wanted, answers) }];
    }),
    containers: allContainers(pod.spec).map((container) =>
      explainContainer(runtime, pod, { config, record }, container, home, answers),
    ),
  };
}

function explainSandbox(
  runtime: Runtime,
  pod: Pod,
  config: PodSandboxConfig,
  record: SandboxRecord,
): SandboxPlan {
  const namespaces = namespacesOf(config);
  const mappings = podIdMappings(config);
  const { cgroupPath: path, selinux: labels } = record;
  const hostname = config.hostname || runtime.hostname;
  const sysctls = sandboxSysctls(config, namespaces, mappings);
  const common = {
    hostname,
    directory: join(runtime.paths.podsDir, SANDBOX_ID),
    newNamespaces: [
      "mount",
      ...Object.entries(namespaces).flatMap(([name, isNew]) => (isNew ? [name] : [])),
      ...(mappings === undefined ? [] : ["user"]),
    ],
    cgroup: cgroupPlan(runtime, path, {}),
    podCgroup: record.ownsCgroupParent
      ? cgroupPlan(runtime, dirname(path), cgroupResources(config.linux?.resources))
      : undefined,
    sysctls: Object.fromEntries(sysctls),
    network: networkSteps(runtime, config, namespaces.network),
  };
  const { sandbox_image: sandboxImage } = runtime.config.image;
  if (sandboxImage !== undefined) {
    const unlisted = `the pause is that of image ${sandboxImage}, as the configuration has it`;
    return { ...common, program: [], unlisted };
  }
  try {
    checkSandboxFor(record.runtimeHandler, config);
    using passed = newListedFds();
    const bareMounts = openBareMounts(runtime);
    const program = sandboxProgram(
      {
        label: `sandbox ${pod.name}`,
        tag: PAUSE_TAG,
        newNamespaces: namespaces,
        hostname,
        sysctls,
        oomScoreAdj: DEFAULT_OOM_SCORE,
        identity: identityForPause(config, runtime.securityModules, labels),
        existingCapabilities: availableCapabilities(runtime, mappings),
        cgroup: listedPlace(runtime, path, passed),
        rootMountPoint: rootMountPoint(runtime, mappings),
        rootLabel: labels?.file,
        executableLabel: labels && commonFileLabel(runtime.securityModules.selinux),
        bareMounts: bareMounts && passed.own(passed.named(bareMounts, "the mounts of another pause")),
        userNamespace: mappings && passed.standIn("the pod's user namespace"),
        image: undefined,
      },
      passed,
    );
    return { ...common, program: listProgram(program, passed.descriptors) };
  } catch (error) {
    return { ...common, program: [], problem: messageOf(error) };
  }
}

function networkSteps({ network, config }: Runtime, sandbox: PodSandboxConfig, isOwn: boolean): string[] {
  if (!isOwn) return ["none: the pod is in the machine's network"];
  const { cniconfig = {} } = network.describe() as { cniconfig?: { name?: string } };
  const pin = ["pin the network namespace in the pod's directory", "bring its loopback interface up"];
  if (cniconfig.name !== undefined)
    return [...pin, `have the CNI plugins of network ${cniconfig.name} attach it`];
  const { bridge, subnets, masquerade } = config.network;
  const ports = sandbox.portMappings.map(
    ({ hostPort, hostIp, containerPort, protocol }) =>
      `forward port ${hostPort}/${PROTOCOLS.get(protocol) ?? "TCP"} of ${hostIp || "every address of the machine"} to port ${containerPort} of the pod`,
  );
  return [
    ...pin,
    `make bridge ${bridge} unless it is there, and let the machine forward`,
    `make a pair of interfaces: eth0 in the pod, the other on ${bridge}`,
    `give eth0 the lowest free address of ${subnets.join(" and of ")}, and a default route by the bridge`,
    ...(masquerade ? ["masquerade what leaves the machine (nftables)"] : []),
    ...ports,
  ];
}

const PROTOCOLS = new Map(Object.entries(Protocol).map(([name, number]) => [number as number, name]));
