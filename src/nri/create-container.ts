// SPDX-License-Identifier: Apache-2.0
import { create, mergeFromBinary, toBinary } from "@bufbuild/protobuf";
import { editsOf } from "../container/cdi.ts";
import type { Creation } from "../container/plugins.ts";
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError } from "../errors.ts";
import {
  ContainerAdjustmentSchema,
  type ContainerUpdate,
  type CreateContainerResponse,
  Event,
  Plugin as PluginService,
} from "../gen/nri/v1alpha1/api_pb.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { adjusted } from "./adjust.ts";
import { Claims } from "./claims.ts";
import { fieldsOf } from "./fields.ts";
import { containerMessage, podMessage } from "./messages.ts";
import type { Plugin } from "./plugin.ts";
import { claimUpdates, warnOfEvictions } from "./updates.ts";

/** What came of asking all plugins about a new container. */
export interface Adjusted {
  readonly creation: Creation;
  /** What they want changed of other containers. */
  readonly updates: readonly ContainerUpdate[];
}

/** Asks one plugin after another about a container that is being made; each sees what those before it made of it. */
export async function adjustCreation(
  runtime: Runtime,
  plugins: readonly Plugin[],
  pod: SandboxRecord,
  record: ContainerRecord,
  asked: Creation,
): Promise<Adjusted> {
  const claims = new Claims();
  const all = create(ContainerAdjustmentSchema);
  const updates: ContainerUpdate[] = [];
  let creation = asked;
  for (const plugin of plugins) {
    const request = { pod: podMessage(pod), container: containerMessage(record, creation) };
    const { createContainer } = PluginService.method;
    const reply = await plugin.relay(Event.CREATE_CONTAINER, createContainer, request);
    if (reply === undefined) continue;
    warnOfEvictions(runtime, plugin.name, reply.evict);
    creation = await applyReply(runtime, claims, record.id, creation, reply, plugin.name);
    updates.push(...claimUpdates(runtime, claims, reply.update, plugin.name));
    if (reply.adjust === undefined) continue;
    // Of lists that are merged only this one does not grow.
    if (reply.adjust.args.length > 0) all.args = [];
    mergeFromBinary(ContainerAdjustmentSchema, all, toBinary(ContainerAdjustmentSchema, reply.adjust));
  }
  const outcome = { pod: podMessage(pod), container: containerMessage(record, asked), adjust: all };
  await validate(plugins, { ...outcome, update: updates, owners: claims.owners() });
  return { creation, updates };
}

async function applyReply(
  runtime: Runtime,
  claims: Claims,
  id: string,
  creation: Creation,
  { adjust, update }: CreateContainerResponse,
  plugin: string,
): Promise<Creation> {
  if (update.some(({ containerId }) => containerId === id)) {
    throw new FailedPreconditionError(
      `NRI plugin ${plugin} asks for an update of container ${id}, which is being created: it has to adjust it`,
    );
  }
  if (adjust === undefined) return creation;
  for (const field of fieldsOf(adjust)) claims.claim(id, field, plugin);
  const devices = await editsOf(
    runtime,
    adjust.CDIDevices.map(({ name }) => name),
  );
  return adjusted(creation, adjust, plugin, devices);
}

type Outcome = Omit<
  Parameters<typeof create<typeof PluginService.method.validateContainerAdjustment.input>>[1] & object,
  "plugins"
>;

/** Lets plugins that watch over the others refuse what these made of a container. */
async function validate(plugins: readonly Plugin[], outcome: Outcome): Promise<void> {
  const { validateContainerAdjustment } = PluginService.method;
  const event = Event.VALIDATE_CONTAINER_ADJUSTMENT;
  const consulted = plugins.map(({ name }) => ({ index: name.slice(0, 2), name: name.slice(3) }));
  for (const plugin of plugins) {
    const request = { ...outcome, plugins: consulted };
    const reply = await plugin.relay(event, validateContainerAdjustment, request as never);
    if (!reply?.reject) continue;
    throw new FailedPreconditionError(
      `NRI plugin ${plugin.name} refuses what plugins made of the container: ${reply.reason || "it gives no reason"}`,
    );
  }
}
