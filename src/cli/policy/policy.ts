// SPDX-License-Identifier: Apache-2.0
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { FailedPreconditionError } from "../../errors.ts";
import {
  type Container,
  type PodSandboxConfig,
  PodSandboxConfigSchema,
} from "../../gen/runtime/v1/api_pb.ts";
import { type Daemon, openDaemon, promptly } from "../client.ts";
import {
  containerName,
  findContainer,
  findPod,
  noPodOrContainer,
  type PodEntry,
  podTitle,
  takeInventory,
} from "../inventory.ts";
import { isDocument } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { formatTable, painter, wrapLast } from "../table.ts";
import { type ContainerPolicy, containerPolicy, type Told } from "./container-policy.ts";
import { confinementOf } from "./process-confinement.ts";

/** Shows what the containers of a pod, or one container, were to be allowed and what the kernel lets them. */
export async function policy({ io, socketPath, output }: Context, name: string): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const whole = findPod(inventory, name);
  const container = whole === undefined ? findContainer(inventory, name) : undefined;
  const pod =
    whole ?? inventory.pods.find(({ containers }) => containers.some(({ id }) => id === container?.id));
  if (pod === undefined) throw noPodOrContainer(inventory, name);
  const wanted = container === undefined ? newest(pod) : [container];
  if (wanted.length === 0)
    throw new FailedPreconditionError(`pod ${name} has no container yet; ask podrt why ${name}`);
  const sandbox = await sandboxConfig(daemon, wanted[0]!.podSandboxId);
  const policies = await Promise.all(wanted.map((one) => policyOf(daemon, pod, one, sandbox)));
  const allowed = pod.kept?.permissions ?? [];
  if (isDocument(output)) {
    await printDocument({ io, output }, { pod: podTitle(pod), allowed, containers: policies });
    return 0;
  }
  const paint = painter(io);
  const head =
    pod.kept === undefined
      ? ""
      : `pod ${podTitle(pod)} was allowed: ${allowed.join(", ") || "nothing of the host"}\n\n`;
  const width = io.outScreen?.size()?.width;
  await io.out(head + policies.map((one) => shown(one, paint, width)).join("\n"));
  return 0;
}

/** The newest attempt of each container. */
function newest({ containers }: PodEntry): Container[] {
  const names = [...new Set(containers.map(containerName))];
  return names.map((name) => containers.find((container) => containerName(container) === name)!).toReversed();
}

async function sandboxConfig(daemon: Daemon, podSandboxId: string): Promise<PodSandboxConfig> {
  const { info } = await daemon.runtime.podSandboxStatus({ podSandboxId, verbose: true }, promptly());
  const { config = {} } = JSON.parse(info["info"] ?? "{}") as { config?: JsonValue };
  return fromJson(PodSandboxConfigSchema, config, { ignoreUnknownFields: true });
}

async function policyOf(
  daemon: Daemon,
  pod: PodEntry,
  { id, metadata }: Container,
  sandbox: PodSandboxConfig,
): Promise<ContainerPolicy> {
  const { info } = await daemon.runtime.containerStatus({ containerId: id, verbose: true }, promptly());
  const told = JSON.parse(info["info"] ?? "{}") as Told["info"];
  const paths = pod.kept?.permissions.filter((one) => one === "all" || one.startsWith("host-path="));
  return containerPolicy(
    {
      name: `${podTitle(pod)}/${metadata?.name ?? ""}`,
      id,
      info: told,
      sandbox,
      // A pod that podrt keeps has of the host what it was allowed; a kubelet's has volumes below its own directory.
      isPodsOwn: (path) => paths?.length === 0 || OWN_VOLUMES.some((part) => path.includes(part(pod.uid))),
    },
    told.pid > 0 ? confinementOf(told.pid) : undefined,
  );
}

/** `pods/UID/` below a kubelet's directory or podrt's, or a claim of podrt's. */
const OWN_VOLUMES = [(uid: string) => `/pods/${uid}/`, () => "/claims/"];

function shown(
  { name, pid, rows, violations }: ContainerPolicy,
  paint: ReturnType<typeof painter>,
  width: number | undefined,
): string {
  const cells = rows.map(({ what, asked, got, differs }) => [
    what,
    differs ? paint(`${got} (asked: ${asked})`, "red") : pid === 0 ? asked : got,
  ]);
  const lines = [
    `container ${name}: ${pid === 0 ? "does not run; this is what it asks for" : `process ${pid}`}\n`,
  ];
  const headings = ["WHAT", pid === 0 ? "ASKED" : "GOT, AS ASKED UNLESS IT SAYS SO"];
  lines.push(formatTable(headings, wrapLast(width, headings, cells)));
  for (const level of ["baseline", "restricted"] as const) {
    const broken = violations.filter((one) => one.level === level || level === "restricted");
    const verdict =
      broken.length === 0
        ? paint("keeps", "green")
        : `${paint("breaks", "yellow")} ${broken.length} of the rules of`;
    lines.push(`Pod Security Standards: ${verdict} ${level}\n`);
    // What baseline forbids is told once.
    for (const { rule, why } of broken.filter((one) => one.level === level))
      lines.push(`  ${rule}: ${why}\n`);
  }
  return lines.join("");
}
