// SPDX-License-Identifier: Apache-2.0

/**
 * Measures the compiled podrt beside what else could be used in its place, in one run on one machine: containerd with
 * runc and with crun, CRI-O where it is there, both low-level runtimes alone, podman. Prints a table and writes it as
 * JSON and as a plot below `.build/bench`. Root only.
 *
 * environment: ROWS, names of groups, and words of which one stands in the title of a row that is wanted;
 * PODS, how often a thing is done whose median is asked for (100); QUICK=1, to be done in a few minutes;
 * PEERS, words of which one stands in the name of a peer that is wanted; CONTAINERD, a directory of another containerd
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import { busybox } from "../integration/harness/pods.ts";
import { keepMachine } from "./as-found.ts";
import { openCountedRegistry } from "./counted-registry.ts";
import { groups } from "./groups/all.ts";
import { benchImages, COUNTED_HOST, LARGE_HOST } from "./large-image.ts";
import { describeMachine } from "./machine.ts";
import { startContainerd } from "./peers/containerd.ts";
import { startCrio } from "./peers/crio.ts";
import type { Peer, PeerOptions } from "./peers/peer.ts";
import { startPodrt } from "./peers/podrt.ts";
import { plotOf } from "./plot.ts";
import { headOf, measuredRow, type Report, tableOf } from "./report.ts";
import type { Bench, Group } from "./row.ts";
import { Samples } from "./samples.ts";

if (process.getuid?.() !== 0) {
  console.error("make bench: needs root");
  process.exit(1);
}
const startMs = performance.now();
/** Ctrl-C and the like: what was started is taken away all the same. */
const stopped = new Promise<never>((_, reject) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
});
await main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});

function note(text: string): void {
  console.error(`${((performance.now() - startMs) / 1000).toFixed(0).padStart(5)} s  ${text}`);
}

function words(variable: string): string[] {
  return (process.env[variable] ?? "")
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
}

async function main(): Promise<void> {
  const isQuick = (process.env["QUICK"] ?? "") !== "";
  const rounds = Number(process.env["PODS"] || (isQuick ? 10 : 100));
  const wanted = groups.filter((group) => isWanted(group, isQuick));
  if (wanted.length === 0) throw new Error(`ROWS names none of ${groups.map(({ name }) => name).join(", ")}`);
  await using stack = new AsyncDisposableStack();
  stack.defer(await keepMachine());
  const registry = stack.use(await startImageRegistry());
  const hasLarge = wanted.some(({ needsLargeImages }) => needsLargeImages);
  if (hasLarge) note("making the large images, unless they are there");
  const large = hasLarge ? stack.use(await startImageRegistry(benchImages)) : registry;
  const counted = stack.use(openCountedRegistry(large.host));
  const registries = { [LARGE_HOST]: large.host, [COUNTED_HOST]: counted.host };
  const options = { mirror: registry.host, registries };
  const podrt = await startPodrt(options);
  stack.defer(podrt.close);
  await podrt.api.pullImage({ image: { image: busybox } });
  const peers = [podrt, ...(await startOthers(options, stack))];
  const samples = new Samples();
  const versions = Object.fromEntries(peers.map(({ name, version }) => [name, version]));
  const bench: Bench = {
    samples,
    peers,
    podrt,
    rounds,
    isQuick,
    options,
    takeBlobRequests: counted.takeBlobRequests,
    addColumn(name, version) {
      versions[name] = version;
    },
    note,
  };
  const failures: string[] = [];
  let isStopped = false;
  stopped.catch(() => {
    isStopped = true;
  });
  for (const group of wanted) {
    if (isStopped) break;
    note(`measuring ${group.name}`);
    await Promise.race([stopped, group.measure(bench)]).catch((error: unknown) => {
      console.error(error);
      failures.push(group.name);
    });
  }
  const rows = wanted.flatMap(({ name, rows }) =>
    rows.flatMap((row) => measuredRow(name, row, samples) ?? []),
  );
  const date = new Date().toISOString().slice(0, 10);
  publish({ machine: describeMachine(), date, rounds, isQuick, versions, rows });
  if (failures.length === 0) return;
  console.error(`make bench: could not be measured: ${failures.join(", ")}`);
  process.exitCode = 1;
}

/** A word that is the name of a group means that one; any other, the groups whose rows have it in their titles. */
function isWanted({ name, rows, isLong }: Group, isQuick: boolean): boolean {
  const asked = words("ROWS");
  if (asked.length === 0) return !(isQuick && isLong);
  const titles = rows.map(({ title }) => title.toLowerCase());
  return asked.some((word) =>
    groups.some((group) => group.name === word)
      ? word === name
      : titles.some((title) => title.includes(word)),
  );
}

/** A peer that cannot be had is left out with a word about it. */
async function startOthers(options: PeerOptions, stack: AsyncDisposableStack): Promise<Peer[]> {
  const start: Readonly<Record<string, () => Promise<Peer | undefined>>> = {
    "containerd+runc": () => startContainerd("runc", options),
    "containerd+crun": () => startContainerd("crun", options),
    "CRI-O": () => startCrio(options),
  };
  const asked = words("PEERS");
  const peers: Peer[] = [];
  for (const [name, open] of Object.entries(start)) {
    if (asked.length > 0 && !asked.some((word) => name.toLowerCase().includes(word))) continue;
    const peer = await open();
    if (peer === undefined) {
      note(`${name} is not here: it is left out`);
      continue;
    }
    stack.defer(peer.close);
    await peer.api.pullImage({ image: { image: busybox } });
    peers.push(peer);
  }
  return peers;
}

function publish(report: Report): void {
  console.log(`\n${headOf(report)}\n\n${tableOf(report).join("\n")}\n`);
  const dir = join(buildDir, "bench");
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "report.json"), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(dir, "report.svg"), plotOf(report));
  console.log(`The same is in ${dir}, in report.json and as a plot in report.svg.`);
}
