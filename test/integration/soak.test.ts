// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { newPopulation } from "../faults/model/population.ts";
import { type SweptDaemon, startSweptDaemon } from "../faults/swept-daemon.ts";

// The model of `make soak`, with the same seed each time and for a moment only.
const SEED = 20_260_101;
const LIFE_MS = 7000;
const ACTORS = 5;

setDefaultTimeout(200_000);

const daemons: SweptDaemon[] = [];
beforeAll(async () => {
  for (const _ of [0, 1]) daemons.push(await startSweptDaemon());
});
afterAll(async () => {
  for (const swept of daemons) await swept.close();
});

async function soak(swept: SweptDaemon, mayDie: boolean) {
  const population = await newPopulation(swept, { actors: ACTORS, seed: SEED, mayDie });
  await population.live(performance.now() + LIFE_MS);
  await population.verify();
  await population.clear();
  population.close();
  expect(population.failures).toEqual([]);
  return population;
}

test("whatever is asked of a daemon that is killed and meets errors, at once for many pods, is as it was acknowledged", async () => {
  const [steady, mortal] = await Promise.all([soak(daemons[0]!, false), soak(daemons[1]!, true)]);
  expect(steady.disturber.harm.faults).toBeGreaterThan(0);
  const { kills, crashes } = mortal.disturber.harm;
  expect(kills + crashes).toBeGreaterThan(0);
  for (const { calls } of [steady, mortal]) expect(calls.answered).toBeGreaterThan(50);
});
