// SPDX-License-Identifier: Apache-2.0
import { openDaemon, promptly } from "./client.ts";
import { age } from "./human.ts";
import { podTitle } from "./inventory.ts";
import type { Context } from "./program.ts";
import { formatTable } from "./table.ts";

/** Lists the volumes that stay when their pods go. */
export async function volumes({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { volumes: all } = await daemon.pods.listVolumes({}, promptly());
  if (output === "json") {
    const objects = all.map(({ namespace, name, path, pods }) => ({ namespace, name, path, pods }));
    await io.out(`${JSON.stringify(objects, null, 2)}\n`);
    return 0;
  }
  const rows = all.map(({ namespace, name, path, createdAtNs, pods }) => [
    name,
    namespace,
    age(createdAtNs),
    pods.length === 0 ? "-" : pods.join(","),
    path,
  ]);
  await io.out(formatTable(["NAME", "NAMESPACE", "AGE", "PODS", "PATH"], rows));
  return 0;
}

/** Deletes volumes, each `NAME` or `NAMESPACE/NAME`, with all that is in them. */
export async function removeVolumes({ io, socketPath }: Context, names: readonly string[]): Promise<number> {
  using daemon = openDaemon(socketPath);
  for (const text of names) {
    const slash = text.indexOf("/");
    const namespace = slash < 0 ? "default" : text.slice(0, slash);
    const name = text.slice(slash + 1);
    await daemon.pods.removeVolume({ namespace, name });
    await io.out(`${podTitle({ namespace, name })}\n`);
  }
  return 0;
}
