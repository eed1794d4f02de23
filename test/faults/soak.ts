// SPDX-License-Identifier: Apache-2.0

/**
 * Goes through every point of every operation, again and again, until SOAK_MINUTES (30) are over, and prints how
 * many crashes and faults there were. Ends with 1 when anything was lost or left behind.
 */
import { type Kind, runPlan } from "./plan.ts";
import { openSweep } from "./sweep.ts";

const minutes = Number(process.env["SOAK_MINUTES"] ?? 30);
const endMs = performance.now() + minutes * 60_000;
const turns: readonly (readonly [Kind, number])[] = [
  ["die", 3],
  ["fail", 3],
  ["die twice", 1],
];
const total = { crashes: 0, faults: 0, failures: 0 };

const sweep = await openSweep();
try {
  // Short turns first, so that a defect is seen soon; each further one is longer and begins elsewhere.
  for (let turn = 1; performance.now() < endMs; turn += 1) {
    for (const [kind, share] of turns) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) break;
      const limitMs = Math.min(leftMs, turn * share * 60_000);
      const tally = await runPlan(sweep, { kind, offset: Math.random(), limitMs, report: console.log });
      for (const failure of tally.failures) console.log(failure);
      total.failures += tally.failures.length;
      if (kind === "fail") total.faults += tally.hits;
      else total.crashes += tally.hits;
    }
  }
} finally {
  await sweep.close();
}
console.log(`${total.crashes} crashes, ${total.faults} faults, ${total.failures} went wrong`);
process.exitCode = total.failures === 0 ? 0 : 1;
