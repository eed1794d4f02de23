// SPDX-License-Identifier: Apache-2.0

/**
 * Two lanes side by side until SOAK_MINUTES (30) are over. In the first a daemon lives all the time, meets errors, and
 * its memory and descriptors are watched. In the second a daemon is killed again and again while its pods are worked
 * on, then every point of every operation has its turn, then the fuzzers run. SOAK_SEED repeats the commands of an
 * earlier soak. Ends with 1 when anything was lost or left behind, or has grown.
 */
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { projectDir } from "../fixtures/images/packages.ts";
import { prepareImages } from "../fixtures/images/prepare.ts";
import type { Harm } from "./model/disturbance.ts";
import { type Figures, growth, takeFigures, textOf } from "./model/figures.ts";
import { newPopulation } from "./model/population.ts";
import { type Kind, runPlan } from "./plan.ts";
import { openSweep } from "./sweep.ts";
import { startSweptDaemon } from "./swept-daemon.ts";

const MINUTE_MS = 60_000;
const minutes = Number(process.env["SOAK_MINUTES"] ?? 30);
const seed = Number(process.env["SOAK_SEED"] ?? Math.floor(Math.random() * 1_000_000));
const beganMs = performance.now();
const endMs = beganMs + minutes * MINUTE_MS;
/** What of the second lane's time is the model's, and what the model's and the sweep's together. */
const MODEL_SHARE = 0.5;
const SWEEP_SHARE = 0.9;
/** A daemon's memory is compared with what it was after this. */
const WARM_UP_MINUTES = Math.min(5, minutes / 3);
const EPOCH_MS = Math.min(2 * MINUTE_MS, (minutes * MINUTE_MS) / 4);

const failures: string[] = [];
const minute = () => (performance.now() - beganMs) / MINUTE_MS;

function note(lane: string, found: readonly string[]): void {
  for (const text of found) {
    failures.push(text);
    console.log(`${lane}: WRONG: ${text}`);
  }
}

function sum(harm: Harm): string {
  return Object.entries(harm)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ");
}

interface Lane {
  readonly name: string;
  readonly actors: number;
  readonly mayDie: boolean;
  readonly endMs: number;
}

/** Lets a population live until then, and looks every few minutes whether all is as it must be. */
async function liveWithModel({ name, actors, mayDie, endMs }: Lane): Promise<void> {
  const swept = await startSweptDaemon();
  try {
    const population = await newPopulation(swept, { actors, seed, mayDie });
    const figures: Figures[] = [];
    let told = 0;
    const tell = () => {
      note(name, population.failures.slice(told));
      told = population.failures.length;
    };
    // The first look comes after a minute, so that a defect is seen soon.
    for (let untilMs = performance.now() + EPOCH_MS / 2; performance.now() < endMs; untilMs += EPOCH_MS) {
      await population.live(Math.min(untilMs, endMs));
      const pods = await population.verify();
      await population.clear();
      tell();
      // What is free is given back a moment later.
      await sleep(2000);
      const now = takeFigures(swept, minute());
      figures.push(now);
      const { answered, repeated } = population.calls;
      const harm = sum(population.disturber.harm);
      console.log(`${name}: ${textOf(now)}; ${pods} pods, ${answered} calls, ${repeated} repeated; ${harm}`);
    }
    if (!mayDie) note(name, growth(figures, WARM_UP_MINUTES));
    population.close();
  } finally {
    await swept.close();
  }
}

/** Goes through the points of every operation, again and again. */
async function sweepAll(endMs: number): Promise<void> {
  const turns: readonly (readonly [Kind, number])[] = [
    ["die", 2],
    ["fail", 2],
    ["die twice", 1],
    ["fail at the start", 1],
  ];
  const total = { crashes: 0, doubleCrashes: 0, faults: 0, faultsAtStart: 0 };
  const field = {
    die: "crashes",
    "die twice": "doubleCrashes",
    fail: "faults",
    "fail at the start": "faultsAtStart",
  } as const;
  const sweep = await openSweep();
  try {
    // Short turns first, so that a defect is seen soon; each further one is longer and begins elsewhere.
    for (let turn = 1; performance.now() < endMs; turn += 1) {
      for (const [kind, share] of turns) {
        const leftMs = endMs - performance.now();
        if (leftMs <= 0) break;
        const limitMs = Math.min(leftMs, turn * share * MINUTE_MS);
        const tally = await runPlan(sweep, { kind, offset: Math.random(), limitMs, report: console.log });
        note("sweep", tally.failures);
        total[field[kind]] += tally.hits;
      }
    }
  } finally {
    await sweep.close();
  }
  console.log(
    `sweep: ${Object.entries(total)
      .map(([what, count]) => `${count} ${what}`)
      .join(", ")}`,
  );
}

/** Runs the property tests longer and longer, for about so long. */
async function fuzz(endMs: number): Promise<void> {
  for (let factor = 2; performance.now() < endMs; factor *= 2) {
    const leftMs = endMs - performance.now();
    const isHeld = await new Promise<boolean>((resolve) => {
      const wanted = { PODRT_FUZZ_RUNS: String(factor), PODRT_FUZZ_SEED: String(seed + factor) };
      const env = { ...process.env, ...wanted };
      const args = ["test", "./test/property", "./test/integration/monitor-fuzz.test.ts"];
      const stdio = ["ignore", "ignore", "inherit"] as const;
      const child = spawn(process.execPath, args, { cwd: projectDir, env, stdio: [...stdio] });
      const timer = setTimeout(() => child.kill("SIGKILL"), leftMs);
      child.once("exit", (code) => {
        clearTimeout(timer);
        resolve(code === 0 || code === null);
      });
    });
    console.log(`fuzzers: PODRT_FUZZ_RUNS=${factor}`);
    if (!isHeld)
      note("fuzzers", [`a property does not hold: PODRT_FUZZ_RUNS=${factor} bun test test/property`]);
  }
}

const until = (share: number) => beganMs + share * minutes * MINUTE_MS;

/** What fails as a whole is noted, and the rest of the lane has its turn all the same. */
async function part(name: string, work: Promise<void>): Promise<void> {
  await work.catch((error) => note(name, [String(error)]));
}

async function secondLane(): Promise<void> {
  const killed = { name: "killed", actors: 16, mayDie: true, endMs: until(MODEL_SHARE) };
  await part(killed.name, liveWithModel(killed));
  await part("sweep", sweepAll(until(SWEEP_SHARE)));
  await part("fuzzers", fuzz(endMs));
}

console.log(`SOAK_SEED=${seed}`);
// Both lanes take them as they find them.
await prepareImages();
const steady = { name: "steady", actors: 12, mayDie: false, endMs };
await Promise.all([part(steady.name, liveWithModel(steady)), secondLane()]);
console.log(`${failures.length} went wrong in ${minute().toFixed(1)} minutes (SOAK_SEED=${seed})`);
process.exitCode = failures.length === 0 ? 0 : 1;
