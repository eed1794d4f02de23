// SPDX-License-Identifier: Apache-2.0
import type { NotFoundError } from "../../errors.ts";
import { type Daemon, promptly } from "../client.ts";
import { imageNames } from "../image-names.ts";
import { containerNames, podNames, takeInventory } from "../inventory.ts";
import { noSuch } from "../no-such.ts";
import { isOf } from "./event-text.ts";

/** For the first of `names` that neither an event that is remembered nor anything that is there has: that, with what was meant. */
export async function unknownName(
  daemon: Daemon,
  names: readonly string[],
): Promise<NotFoundError | undefined> {
  let unseen = names;
  for await (const event of daemon.pods.events({ sinceNs: 0n, rememberedOnly: true }, promptly())) {
    if (unseen.length === 0) return undefined;
    unseen = unseen.filter((name) => !isOf(event, name));
  }
  if (unseen.length === 0) return undefined;
  const [inventory, { images }] = await Promise.all([
    takeInventory(daemon),
    daemon.images.listImages({}, promptly()),
  ]);
  const present = [...podNames(inventory), ...containerNames(inventory), ...images.flatMap(imageNames)];
  const ids = [
    ...inventory.pods.map(({ sandbox }) => sandbox?.id ?? ""),
    ...[...inventory.containers, ...images].map(({ id }) => id.replace(/^sha256:/, "")),
  ];
  const unknown = unseen.find(
    (name) =>
      !present.some((one) => one === name || one.endsWith(`/${name}`)) &&
      !ids.some((id) => id.startsWith(name)),
  );
  if (unknown === undefined) return undefined;
  const advice = "`podrt pods`, `podrt ps -a` and `podrt images` list them";
  return noSuch("pod, container or image", unknown, present, advice);
}
