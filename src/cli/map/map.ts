// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { FailedPreconditionError } from "../../errors.ts";
import { type Daemon, openDaemon, promptly } from "../client.ts";
import { cannotWrite } from "../file-problem.ts";
import { requirePod, takeInventory } from "../inventory.ts";
import { isDocument } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { painter } from "../table.ts";
import { UsageError } from "../usage-error.ts";
import { mapSvg } from "./map-svg.ts";
import { mapText } from "./map-text.ts";
import { mapAsJson, type NamespaceMap, namespaceMap, type PodMap } from "./namespace-map.ts";

export interface MapOptions {
  /** True for standard output. */
  readonly svg?: string | true;
}

/** Draws pods, their pauses and containers, and the namespaces that they share. */
export async function map(
  { io, socketPath, output }: Context,
  names: readonly string[],
  { svg }: MapOptions,
): Promise<number> {
  checkOptions(svg, output, names);
  using daemon = openDaemon(socketPath);
  // What they share with pods that are not shown is told of them too, so all are asked for.
  const all = namespaceMap(await daemon.pods.mapPods({}, promptly()));
  const pods = names.length === 0 ? all.pods : await chosen(daemon, all, names);
  if (svg !== undefined) {
    const picture = mapSvg(all, pods);
    if (svg === true || svg === "-") await io.out(picture);
    else writeSvg(svg, picture);
  } else if (isDocument(output)) {
    await printDocument({ io, output }, mapAsJson(all, pods));
  } else if (pods.length === 0) {
    await io.out("there are no pods; `podrt run` makes some\n");
  } else {
    const width = io.isTerminal ? io.terminal?.size()?.width : undefined;
    await io.out(mapText(all, pods, { width, isUnicode: isUnicodeLocale(io.env), paint: painter(io) }));
  }
  return 0;
}

/** `--svg` takes a file or nothing, so a pod's name after it would be taken for a file. */
function checkOptions(svg: MapOptions["svg"], output: Context["output"], names: readonly string[]): void {
  if (svg === undefined) return;
  if (isDocument(output)) throw new UsageError(`--svg and -o ${output} are two ways to print it: choose one`);
  if (svg === true || svg === "-" || svg.endsWith(".svg")) return;
  const pods = [...names, svg].join(" ");
  throw new UsageError(
    `--svg writes files whose names end in .svg, and ${svg} does not; for the pod of this name: podrt map ${pods} --svg`,
  );
}

async function chosen(daemon: Daemon, { pods }: NamespaceMap, names: readonly string[]): Promise<PodMap[]> {
  const inventory = await takeInventory(daemon);
  const found = names.map((name) => {
    const { sandbox } = requirePod(inventory, name);
    const pod = pods.find(({ id }) => id === sandbox?.id);
    if (pod !== undefined) return pod;
    throw new FailedPreconditionError(`pod ${name} has no sandbox yet; ask podrt why ${name}`);
  });
  return [...new Set(found)];
}

function writeSvg(file: string, picture: string): void {
  try {
    writeFileSync(file, picture);
  } catch (error) {
    throw cannotWrite("the picture", file, error);
  }
}

/** As setlocale(3) finds the character set: the first of these that is set counts. */
export function isUnicodeLocale(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = [env["LC_ALL"], env["LC_CTYPE"], env["LANG"]].find((value) => (value ?? "") !== "");
  return /utf-?8/i.test(locale ?? "");
}
