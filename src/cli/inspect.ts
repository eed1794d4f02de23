// SPDX-License-Identifier: Apache-2.0
import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { PodSchema } from "../gen/podrt/v1/podrt_pb.ts";
import { ContainerStatusSchema, ImageSchema, PodSandboxStatusSchema } from "../gen/runtime/v1/api_pb.ts";
import { type Daemon, openDaemon, promptly } from "./client.ts";
import { imageNames } from "./image-names.ts";
import { containerNames, findContainer, findPod, podNames, takeInventory } from "./inventory.ts";
import { noSuch } from "./no-such.ts";
import { printDocument } from "./output/print.ts";
import type { Context } from "./program.ts";

/** Prints one object whose keys say what it is: `pod` and `sandbox`, `container`, or `image`. */
export async function inspect({ io, socketPath, output }: Context, name: string): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const pod = findPod(inventory, name);
  const container = pod === undefined ? findContainer(inventory, name) : undefined;
  let found: object | undefined;
  if (pod !== undefined) {
    found = {
      ...(pod.kept === undefined ? {} : { pod: toJson(PodSchema, pod.kept) }),
      ...(pod.sandbox === undefined ? {} : await sandboxDetails(daemon, pod.sandbox.id)),
    };
  } else if (container !== undefined) found = await containerDetails(daemon, container.id);
  else found = await imageDetails(daemon, name);
  if (found === undefined) {
    const { images } = await daemon.images.listImages({}, promptly());
    const names = [...podNames(inventory), ...containerNames(inventory), ...images.flatMap(imageNames)];
    throw noSuch("pod, container or image", name, names, "`podrt ps -a` and `podrt images` list them");
  }
  await printDocument({ io, output }, found);
  return 0;
}

async function sandboxDetails(daemon: Daemon, podSandboxId: string): Promise<object> {
  const { status, info } = await daemon.runtime.podSandboxStatus({ podSandboxId, verbose: true }, promptly());
  return { sandbox: { status: json(PodSandboxStatusSchema, status), ...unfold(info) } };
}

async function containerDetails(daemon: Daemon, containerId: string): Promise<object> {
  const { status, info } = await daemon.runtime.containerStatus({ containerId, verbose: true }, promptly());
  return { container: { status: json(ContainerStatusSchema, status), ...unfold(info) } };
}

async function imageDetails(daemon: Daemon, name: string): Promise<object | undefined> {
  const { image, info } = await daemon.images.imageStatus(
    { image: { image: name }, verbose: true },
    promptly(),
  );
  return image === undefined ? undefined : { image: { status: json(ImageSchema, image), ...unfold(info) } };
}

function json<D extends DescMessage>(schema: D, message: MessageShape<D> | undefined) {
  return message === undefined ? undefined : toJson(schema, message, { alwaysEmitImplicit: true });
}

/** The values of a verbose answer that are JSON as what they say. */
function unfold(info: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(info).map(([key, value]) => [key, value.startsWith("{") ? JSON.parse(value) : value]),
  );
}
