// SPDX-License-Identifier: Apache-2.0
import type { Container as KeptContainer } from "../../gen/podrt/v1/podrt_pb.ts";
import type { Container, ContainerStatus } from "../../gen/runtime/v1/api_pb.ts";
import { fileTail } from "../../lib/file-tail.ts";
import { type Daemon, isNotFound, openDaemon, promptly } from "../client.ts";
import {
  containerName,
  containersOf,
  findContainer,
  findPod,
  type Inventory,
  noPodOrContainer,
  type PodEntry,
  podTitle,
  takeInventory,
} from "../inventory.ts";
import { linesOf } from "../logs/log-file.ts";
import { isDocument } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { painter } from "../table.ts";
import { type ContainerFacts, containerStory } from "./container-story.ts";
import { isEnding, podStory, type SandboxInfo } from "./pod-story.ts";
import { type Story, tell } from "./story.ts";

const LOG_LINES = 10;
const LOG_BYTES = 64 * 1024;

/** Tells why each of `names` is in its state; of a pod also its containers. Exits with 0 whatever it tells. */
export async function why({ io, socketPath, output }: Context, names: readonly string[]): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const stories: Story[] = [];
  for (const name of names) stories.push(...(await storiesOf(daemon, inventory, name)));
  if (isDocument(output)) {
    await printDocument({ io, output }, stories);
    return 0;
  }
  const paint = painter(io);
  await io.out(stories.map((story) => tell(story, paint, Date.now())).join("\n"));
  return 0;
}

async function storiesOf(daemon: Daemon, inventory: Inventory, name: string): Promise<Story[]> {
  const pod = findPod(inventory, name);
  if (pod !== undefined) return storiesOfPod(daemon, pod);
  // A container that could never be created has no id, and stands only in what is kept of its pod.
  const kept = keptContainer(inventory, name);
  const container = findContainer(inventory, name);
  const owner =
    kept?.pod ?? inventory.pods.find(({ containers }) => containers.some((c) => c.id === container?.id));
  const wanted = kept?.container.name ?? (container === undefined ? undefined : containerName(container));
  if (owner === undefined || wanted === undefined) {
    throw noPodOrContainer(inventory, name);
  }
  return [await storyOfContainer(daemon, owner, wanted, await sandboxInfo(daemon, owner), container)];
}

function keptContainer(
  { pods }: Inventory,
  text: string,
): { readonly pod: PodEntry; readonly container: KeptContainer } | undefined {
  const found = pods.flatMap((pod) =>
    (pod.kept === undefined ? [] : containersOf(pod.kept))
      .filter(({ name }) =>
        [name, `${pod.name}/${name}`, `${pod.namespace}/${pod.name}/${name}`].includes(text),
      )
      .map((container) => ({ pod, container })),
  );
  // Several are findContainer's to refuse.
  return found.length === 1 ? found[0] : undefined;
}

async function storiesOfPod(daemon: Daemon, pod: PodEntry): Promise<Story[]> {
  const end = await sandboxInfo(daemon, pod);
  const kept = pod.kept === undefined ? [] : containersOf(pod.kept).map(({ name }) => name);
  const names = [...new Set([...kept, ...pod.containers.map(containerName)])];
  const containers = await Promise.all(
    names.map((name) => storyOfContainer(daemon, pod, name, end, undefined)),
  );
  return [podStory(pod, end), ...containers];
}

/** The newest attempt's, or that of `chosen`, which somebody named by its id. */
async function storyOfContainer(
  daemon: Daemon,
  pod: PodEntry,
  name: string,
  sandbox: SandboxInfo,
  chosen: Container | undefined,
): Promise<Story> {
  const attempts = pod.containers.filter((container) => containerName(container) === name);
  const index =
    chosen === undefined
      ? 0
      : Math.max(
          0,
          attempts.findIndex(({ id }) => id === chosen.id),
        );
  const [current, before] = await Promise.all(
    [attempts[index], attempts[index + 1]].map((container) => statusOf(daemon, container)),
  );
  const kept =
    index === 0 && pod.kept !== undefined
      ? containersOf(pod.kept).find((one) => one.name === name)
      : undefined;
  const facts: ContainerFacts = {
    name: `${podTitle(pod)}/${name}`,
    kept,
    status: current?.status,
    before: before?.status,
    info: current?.info ?? {},
    sandboxEnd: sandbox.reason ?? "",
    isPodEnding: isEnding(pod),
    log: lastLines([current?.status?.logPath ?? "", before?.status?.logPath ?? ""]),
  };
  return containerStory(facts);
}

interface Looked {
  readonly status: ContainerStatus | undefined;
  readonly info: ContainerFacts["info"];
}

/** Undefined for one that has gone since it was listed. */
async function statusOf(daemon: Daemon, container: Container | undefined): Promise<Looked | undefined> {
  if (container === undefined) return undefined;
  try {
    const { status, info } = await daemon.runtime.containerStatus(
      { containerId: container.id, verbose: true },
      promptly(),
    );
    return { status, info: JSON.parse(info["info"] ?? "{}") as ContainerFacts["info"] };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Nothing of a sandbox that is gone. */
async function sandboxInfo(daemon: Daemon, { sandbox }: PodEntry): Promise<SandboxInfo> {
  if (sandbox === undefined) return {};
  try {
    const { info } = await daemon.runtime.podSandboxStatus(
      { podSandboxId: sandbox.id, verbose: true },
      promptly(),
    );
    return JSON.parse(info["info"] ?? "{}") as SandboxInfo;
  } catch (error) {
    if (isNotFound(error)) return {};
    throw error;
  }
}

/** Of the first log that has any: a container that has just been started has not said anything yet. */
function lastLines(paths: readonly string[]): string[] {
  for (const path of paths.filter((one) => one !== "")) {
    const lines = linesOf(Buffer.from(fileTail(path, LOG_BYTES)));
    const texts = lines.map(({ text }) => new TextDecoder().decode(text));
    if (texts.length > 0) return texts.slice(-LOG_LINES);
  }
  return [];
}
