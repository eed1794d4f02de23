// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { ERRNO } from "../../../src/linux/abi/errno.ts";
import type { Daemon } from "../../integration/harness/daemon.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import { isAlive } from "../../integration/harness/proc.ts";
import { type Control, MODE } from "../control.ts";
import { ERRORS } from "../plan.ts";
import type { SweptDaemon } from "../swept-daemon.ts";

/** Something that is done to a daemon while it is at work. */
interface Disturbance {
  readonly kind: "kill" | "die" | "die twice" | "fail" | "fail at the start";
  /** How long nothing happens before it. */
  readonly quietMs: number;
  /** How long the daemon stays dead. */
  readonly deadMs: number;
  /** At which of its points the daemon dies, or a call of its fails. */
  readonly point: number;
  readonly startPoint: number;
  readonly errno: keyof typeof ERRNO;
}

const FAULTS = [{ arbitrary: fc.constant("fail" as const), weight: 6 }];
const DEATHS = [
  { arbitrary: fc.constant("kill" as const), weight: 3 },
  { arbitrary: fc.constant("die" as const), weight: 4 },
  { arbitrary: fc.constant("die twice" as const), weight: 2 },
  { arbitrary: fc.constant("fail at the start" as const), weight: 2 },
];

function disturbances(mayDie: boolean): fc.Arbitrary<Disturbance> {
  return fc.record({
    kind: fc.oneof(...FAULTS, ...(mayDie ? DEATHS : [])),
    quietMs: fc.integer({ min: 50, max: mayDie ? 3000 : 800 }),
    deadMs: fc.integer({ min: 0, max: 1500 }),
    point: fc.integer({ min: 1, max: 400 }),
    startPoint: fc.integer({ min: 1, max: 250 }),
    errno: fc.constantFrom(...ERRORS),
  });
}

/** What has been done to a daemon. */
export interface Harm {
  /** Ended at a random moment. */
  kills: number;
  /** Died right after a call that changes something, while it served. */
  crashes: number;
  /** Died once more while it started. */
  doubleCrashes: number;
  /** Calls that failed while it served. */
  faults: number;
  /** Calls that failed while it started. */
  faultsAtStart: number;
}

export interface Disturber {
  readonly harm: Harm;
  /** Disturbs the daemon again and again until then, and leaves it running. */
  until(endMs: number): Promise<void>;
  /** Whether a call that was made at that time (of performance.now) and failed may blame a disturbance. */
  excuses(sinceMs: number): boolean;
  /** Resolves when the disturbance under way is over, and the daemon serves. */
  settled(): Promise<void>;
}

/** A point that nobody comes to within this is given up. */
const HIT_TIMEOUT_MS = 1500;

/** @param mayDie whether the daemon may be killed, or is only to meet errors */
export function newDisturber({ daemon, control }: SweptDaemon, seed: number, mayDie: boolean): Disturber {
  const harm: Harm = { kills: 0, crashes: 0, doubleCrashes: 0, faults: 0, faultsAtStart: 0 };
  const list = fc.sample(disturbances(mayDie), { seed, numRuns: 1000 });
  let turn = 0;
  let underWay: Promise<void> = Promise.resolve();
  let isUnderWay = false;
  let wasFelt = false;
  let lastFeltMs = Number.NEGATIVE_INFINITY;

  const felt = () => {
    wasFelt = true;
  };
  const disturb = async (disturbance: Disturbance) => {
    isUnderWay = true;
    wasFelt = false;
    try {
      if (disturbance.kind === "fail") {
        if (await failOnce(control, disturbance)) harm.faults += 1;
      } else {
        await killAndStart(daemon, control, disturbance, harm, felt);
      }
    } finally {
      if (wasFelt || control.wasHit()) lastFeltMs = performance.now();
      isUnderWay = false;
    }
  };
  return {
    harm,
    async until(endMs) {
      while (performance.now() < endMs) {
        const disturbance = list[turn++ % list.length] as Disturbance;
        await sleep(Math.min(disturbance.quietMs, Math.max(0, endMs - performance.now())));
        underWay = disturb(disturbance);
        await underWay;
      }
    },
    excuses: (sinceMs) => (isUnderWay && (wasFelt || control.wasHit())) || lastFeltMs >= sinceMs,
    settled: () => underWay.catch(() => {}),
  };
}

/** Lets one call fail; false when none came to its point in time. */
async function failOnce(control: Control, { point, errno }: Disturbance): Promise<boolean> {
  control.arm(MODE.fail, point, ERRNO[errno]);
  await hitOrNot(() => control.wasHit());
  return control.disarm().wasHit;
}

async function hitOrNot(isHit: () => boolean): Promise<void> {
  const endMs = performance.now() + HIT_TIMEOUT_MS;
  while (!isHit() && performance.now() < endMs) await sleep(10);
}

async function killAndStart(
  daemon: Daemon,
  control: Control,
  { kind, point, startPoint, deadMs, errno }: Disturbance,
  harm: Harm,
  felt: () => void,
): Promise<void> {
  if (kind === "kill") {
    felt();
    harm.kills += 1;
  } else {
    const pid = daemon.pid();
    control.arm(MODE.die, point);
    await hitOrNot(() => control.wasHit());
    felt();
    if (control.disarm().wasHit) {
      harm.crashes += 1;
      await eventually("the daemon is dead", () => !isAlive(pid));
    } else harm.kills += 1;
  }
  await daemon.kill();
  await sleep(deadMs);
  if (kind === "die twice" || kind === "fail at the start") {
    const isFault = kind === "fail at the start";
    control.arm(isFault ? MODE.fail : MODE.die, startPoint, isFault ? ERRNO[errno] : 0);
    const isUp = await daemon.start().then(
      () => true,
      () => false,
    );
    if (control.disarm().wasHit) harm[isFault ? "faultsAtStart" : "doubleCrashes"] += 1;
    if (isUp) return;
    await daemon.kill();
  }
  await daemon.start();
}
