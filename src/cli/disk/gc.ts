// SPDX-License-Identifier: Apache-2.0
import type { Reclaimable } from "../../gen/podrt/v1/podrt_pb.ts";
import { canAsk, confirm } from "../ask.ts";
import { type Daemon, openDaemon } from "../client.ts";
import { ExitCode } from "../exit-code.ts";
import { shortId, size } from "../human.ts";
import type { Io } from "../io.ts";
import { type Listing, printRows } from "../output/print.ts";
import type { Context } from "../program.ts";
import { UsageError } from "../usage-error.ts";
import { MEASURE_TIMEOUT_MS } from "./timeout.ts";

interface Options {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly pods?: boolean;
  readonly volumes?: boolean;
  /** Milliseconds. */
  readonly minAge?: number;
}

/** As long as a kubelet leaves images alone that it has just seen (its imageMinimumGCAge). */
const MIN_AGE_MS = 120_000;

/** Removes what nobody needs, once whoever sits at the terminal has agreed. */
export async function gc({ io, socketPath, output }: Context, options: Options): Promise<number> {
  const { dryRun = false, yes = false, pods = false, volumes = false, minAge = MIN_AGE_MS } = options;
  if (!dryRun && !yes && !canAsk(io)) {
    throw new UsageError("there is nobody here to be asked: add --yes, or --dry-run to see what would go");
  }
  using daemon = openDaemon(socketPath);
  const minAgeMs = BigInt(minAge);
  const { items, youngImages } = await daemon.pods.listReclaimable(
    { pods, volumes, minAgeMs },
    { timeoutMs: MEASURE_TIMEOUT_MS },
  );
  if (youngImages > 0) await io.err(`${youngWords(youngImages)}; --min-age 0 takes such too\n`);
  if (dryRun) {
    await printRows({ io, output }, items, LISTING);
    if (output === "table" || output === "wide") await io.err(`${totalOf(items)} would be freed\n`);
    return ExitCode.ok;
  }
  if (items.length === 0) {
    await io.err(
      youngImages === 0 ? "there is nothing that nobody needs\n" : "nothing else is there to go\n",
    );
    return ExitCode.ok;
  }
  if (!yes) {
    await printRows({ io, output: "table" }, items, LISTING);
    if (!(await confirm(io, `Remove these? It frees ${totalOf(items)}.`))) {
      await io.err("nothing was removed\n");
      return io.interrupted.aborted ? ExitCode.interrupted : ExitCode.failure;
    }
  }
  return await removeAll(daemon, io, items, minAgeMs);
}

const LISTING: Listing<Reclaimable> = {
  columns: [
    { heading: "KIND", cell: ({ kind }) => kind },
    { heading: "NAME", cell: titleOf },
    { heading: "FREES", cell: ({ bytes }) => size(bytes) },
    { heading: "ID", cell: ({ id }) => id, wide: true },
  ],
  object: ({ kind, id, name, bytes }) => ({ kind, id, name, freedBytes: Number(bytes) }),
  name: titleOf,
};

/** An image without a name goes by its id. */
function titleOf({ name }: Reclaimable): string {
  return name.startsWith("sha256:") ? shortId(name) : name;
}

function totalOf(items: readonly Reclaimable[]): string {
  return size(items.reduce((sum, { bytes }) => sum + bytes, 0n));
}

function youngWords(count: number): string {
  return count === 1
    ? "1 image that nobody uses stays, since it was pulled or asked for just now"
    : `${count} images that nobody uses stay, since they were pulled or asked for just now`;
}

async function removeAll(
  daemon: Daemon,
  io: Io,
  items: readonly Reclaimable[],
  minAgeMs: bigint,
): Promise<number> {
  const removed: Reclaimable[] = [];
  let failures = 0;
  for await (const { item, error } of daemon.pods.reclaim(
    { items: [...items], minAgeMs },
    { signal: io.interrupted },
  )) {
    if (item === undefined) continue;
    if (error === "") removed.push(item);
    else failures += 1;
    if (error === "") await io.out(`${item.kind} ${titleOf(item)} ${size(item.bytes)}\n`);
    else await io.err(`podrt: ${item.kind} ${titleOf(item)} stays: ${error}\n`);
  }
  await io.err(`freed ${totalOf(removed)}\n`);
  return failures === 0 ? ExitCode.ok : ExitCode.failure;
}
