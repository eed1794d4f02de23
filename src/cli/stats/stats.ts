// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../../errors.ts";
import { sleep } from "../../lib/deadline.ts";
import { openDaemon } from "../client.ts";
import { CLEAR_SCREEN } from "../control-sequences.ts";
import { ridingOutAbsence } from "../daemon-absence.ts";
import { ExitCode } from "../exit-code.ts";
import { memorySize, percent, shown, size } from "../human.ts";
import { findContainer, findPod, type Inventory, noPodOrContainer, takeInventory } from "../inventory.ts";
import { type Listing, printRows, rowsText } from "../output/print.ts";
import type { Context } from "../program.ts";
import { type Sample, takeSample } from "./sample.ts";
import { memoryPercent, type Usage, usageOf } from "./usage.ts";

interface Options {
  readonly watch?: boolean;
  /** Milliseconds. */
  readonly interval: number;
}

/** What a rate is taken over where figures are wanted at once. */
const ONCE_MS = 500;

/** Prints what running pods and containers use, once or again and again; without names, of all. */
export async function stats(
  { io, socketPath, output }: Context,
  names: readonly string[],
  { watch, interval }: Options,
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  for (const name of names) idOf(inventory, name);
  const sample = ridingOutAbsence(() => takeSample(daemon));
  let before = await sample();
  await sleep(ONCE_MS, io.interrupted);
  const measure = async (): Promise<Selection> => {
    const now = (await sample()) ?? before;
    const selected = now === undefined ? NOTHING : select(now, before, names);
    before = now;
    return selected;
  };
  if (watch) return await showForever({ io, output }, async () => (await measure()).usages, interval);
  const { usages, idle } = await measure();
  if (idle !== undefined) {
    throw new FailedPreconditionError(
      `${idle} does not run, so there is nothing to measure; \`podrt why ${idle}\` says why`,
    );
  }
  await printRows({ io, output }, usages, LISTING);
  return ExitCode.ok;
}

/** Shows what is measured again and again: in place where a table is on a terminal, whose width it keeps to. */
async function showForever(
  { io, output }: Pick<Context, "io" | "output">,
  measure: () => Promise<readonly Usage[]>,
  intervalMs: number,
): Promise<never> {
  const isTable = output === "table" || output === "wide";
  const screen = isTable ? io.outScreen : undefined;
  let usages = await measure();
  const textOf = async () => {
    // What comes again and again is on a line each time.
    if (output === "json") return `${JSON.stringify(usages.map(LISTING.object))}\n`;
    return await rowsText(io, output, usages, LISTING, screen?.size()?.width);
  };
  const draw = async () => await io.out(`${screen === undefined ? "" : CLEAR_SCREEN}${await textOf()}`);
  // What cannot be written now cannot be written at the next look either, which tells of it.
  const stopResizing = screen?.onResize(() => void draw().catch(() => {}));
  try {
    for (;;) {
      await draw();
      await sleep(intervalMs, io.interrupted);
      if (isTable && screen === undefined) await io.out("\n");
      usages = await measure();
    }
  } finally {
    stopResizing?.();
  }
}

interface Selection {
  readonly usages: readonly Usage[];
  /** The first of the names of which there is nothing to measure. */
  readonly idle: string | undefined;
}

const NOTHING: Selection = { usages: [], idle: undefined };

/** A pod goes with its containers. Names are looked up anew: a pod that is started again has other ids. */
function select(now: Sample, before: Sample | undefined, names: readonly string[]): Selection {
  const wanted = names.map((name) => ({ name, id: idOf(now.inventory, name) }));
  const ids = new Set(wanted.map(({ id }) => id));
  const usages = usageOf(now, before)
    .flatMap(({ own, containers }) => {
      if (ids.size === 0 || ids.has(own.id)) return [own, ...containers];
      return containers.filter(({ id }) => ids.has(id));
    })
    .filter(({ isMeasured }) => isMeasured);
  const idle = wanted.find(({ id }) => !usages.some((usage) => usage.id === id));
  return { usages, idle: idle?.name };
}

function idOf(inventory: Inventory, name: string): string {
  const pod = findPod(inventory, name);
  if (pod !== undefined) return pod.sandbox?.id ?? "";
  const container = findContainer(inventory, name);
  if (container === undefined) throw noPodOrContainer(inventory, name);
  return container.id;
}

const LISTING: Listing<Usage> = {
  columns: [
    { heading: "NAME", cell: nameOf },
    { heading: "CPU %", cell: ({ cpuPercent }) => percent(cpuPercent) },
    { heading: "MEMORY", cell: ({ memoryBytes }) => shown(memoryBytes, memorySize) },
    { heading: "LIMIT", cell: ({ memoryLimitBytes }) => shown(memoryLimitBytes, memorySize) },
    { heading: "MEM %", cell: (usage) => percent(memoryPercent(usage)) },
    { heading: "PIDS", cell: ({ processes }) => shown(processes, String) },
    { heading: "NET IN / OUT", cell: ({ received, sent }) => pair(received, sent) },
    { heading: "BLOCK READ / WRITTEN", cell: ({ read, written }) => pair(read, written) },
    { heading: "RESTARTS", cell: ({ restarts }) => String(restarts) },
    { heading: "ID", cell: ({ id }) => id, wide: true },
    {
      heading: "NET IN/s / OUT/s",
      cell: ({ receivedRate, sentRate }) => pair(receivedRate, sentRate),
      wide: true,
    },
    {
      heading: "BLOCK READ/s / WRITTEN/s",
      cell: ({ readRate, writtenRate }) => pair(readRate, writtenRate),
      wide: true,
    },
  ],
  object: ({ isMeasured: _, ...usage }) => {
    const figures = { ...usage, memoryPercent: memoryPercent(usage) };
    // Null what nobody can tell, so that every row has the same names.
    return Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, plain(value)]));
  },
  name: nameOf,
};

function nameOf({ pod, container }: Usage): string {
  return container === undefined ? pod : `${pod}/${container}`;
}

function plain(value: string | number | undefined): string | number | null {
  return typeof value === "number" ? Math.round(value * 100) / 100 : (value ?? null);
}

function pair(a: number | undefined, b: number | undefined): string {
  const whole = (bytes: number) => size(Math.round(bytes));
  return a === undefined && b === undefined ? "-" : `${shown(a, whole)} / ${shown(b, whole)}`;
}
