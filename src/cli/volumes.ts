// SPDX-License-Identifier: Apache-2.0
import type { Volume } from "../gen/podrt/v1/podrt_pb.ts";
import { type Daemon, isNotFound, openDaemon, promptly } from "./client.ts";
import { age, timestamp } from "./human.ts";
import { podTitle } from "./inventory.ts";
import { noSuch } from "./no-such.ts";
import { type Listing, printRows } from "./output/print.ts";
import type { Context } from "./program.ts";

/** Lists the volumes that stay when their pods go. */
export async function volumes({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { volumes: all } = await daemon.pods.listVolumes({}, promptly());
  await printRows({ io, output }, all, LISTING);
  return 0;
}

const LISTING: Listing<Volume> = {
  columns: [
    { heading: "NAME", cell: ({ name }) => name },
    { heading: "NAMESPACE", cell: ({ namespace }) => namespace },
    { heading: "AGE", cell: ({ createdAtNs }) => age(createdAtNs) },
    { heading: "PODS", cell: ({ pods }) => pods.join(",") || "-" },
    { heading: "PATH", cell: ({ path }) => path },
    { heading: "CREATED", cell: ({ createdAtNs }) => timestamp(createdAtNs), wide: true },
  ],
  object: ({ namespace, name, path, pods }) => ({ namespace, name, path, pods }),
  name: podTitle,
};

/** Deletes volumes, each `NAME` or `NAMESPACE/NAME`, with all that is in them. */
export async function removeVolumes({ io, socketPath }: Context, names: readonly string[]): Promise<number> {
  using daemon = openDaemon(socketPath);
  for (const text of names) {
    const slash = text.indexOf("/");
    const namespace = slash < 0 ? "default" : text.slice(0, slash);
    const name = text.slice(slash + 1);
    await removeOne(daemon, { namespace, name });
    await io.out(`${podTitle({ namespace, name })}\n`);
  }
  return 0;
}

async function removeOne(daemon: Daemon, volume: { readonly namespace: string; readonly name: string }) {
  try {
    await daemon.pods.removeVolume(volume);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const { volumes: all } = await daemon.pods.listVolumes({}, promptly());
    throw noSuch("volume", podTitle(volume), all.map(podTitle), "`podrt volume ls` lists them");
  }
}
