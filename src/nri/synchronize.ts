// SPDX-License-Identifier: Apache-2.0
import { create, toBinary } from "@bufbuild/protobuf";
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { FailedPreconditionError } from "../errors.ts";
import {
  type ContainerUpdate,
  Plugin as PluginService,
  type SynchronizeRequest,
  SynchronizeRequestSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import { MESSAGE_LIMIT_BYTES } from "./connection.ts";
import { containerMessage, podMessage } from "./messages.ts";
import type { Plugin } from "./plugin.ts";

/** Room for what surrounds the message. */
const PART_LIMIT_BYTES = MESSAGE_LIMIT_BYTES - 64 * 1024;

/** Tells a plugin what is there; answers what it wants changed. */
export async function synchronize(runtime: Runtime, plugin: Plugin): Promise<ContainerUpdate[]> {
  const parts = partsOf(runtime);
  for (const [index, part] of parts.entries()) {
    const more = index < parts.length - 1;
    const reply = await plugin.call(PluginService.method.synchronize, { ...part, more });
    if (!more) return reply.update;
    if (!reply.more || reply.update.length > 0) {
      throw new FailedPreconditionError("it does not take the state of the machine in several messages");
    }
  }
  return [];
}

/** All pods that are complete, and containers that have not ended, in as many messages as it takes. */
function partsOf(runtime: Runtime): SynchronizeRequest[] {
  const pods = runtime.sandboxes.list().filter(({ readyAtNs }) => readyAtNs !== undefined);
  const containers = runtime.containers
    .list()
    .filter((record) => record.created && containerState(record) !== "exited");
  const items = [
    ...pods.map((record) => create(SynchronizeRequestSchema, { pods: [podMessage(record)] })),
    ...containers.map((record) =>
      create(SynchronizeRequestSchema, { containers: [containerMessage(record)] }),
    ),
  ];
  const parts = [create(SynchronizeRequestSchema)];
  let bytes = 0;
  for (const item of items) {
    const size = toBinary(SynchronizeRequestSchema, item).length;
    if (bytes > 0 && bytes + size > PART_LIMIT_BYTES) {
      parts.push(create(SynchronizeRequestSchema));
      bytes = 0;
    }
    bytes += size;
    parts.at(-1)?.pods.push(...item.pods);
    parts.at(-1)?.containers.push(...item.containers);
  }
  return parts;
}
