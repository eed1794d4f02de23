// SPDX-License-Identifier: Apache-2.0

/**
 * Shows podrt at work on this machine: two pods from their manifests, what they are made of, who answers whom, and
 * what happens when a pause is killed. KEEP=1 leaves the daemon and its pods running.
 */
import { existsSync } from "node:fs";
import { startDemo } from "./demo/instance.ts";
import { showKilledPause } from "./demo/killed-pause.ts";
import { Page } from "./demo/page.ts";
import { showPods, showRequests } from "./demo/pods.ts";

const page = new Page();
const keeps = process.env["KEEP"] === "1";
if (process.getuid?.() !== 0) {
  page.complain("make demo: needs root, as every container runtime does");
  process.exit(1);
}
// An unanswered name look-up would keep the process alive.
process.exit(
  await main().then(
    () => 0,
    (error: unknown) => {
      page.complain(`make demo: ${error instanceof Error ? error.message : error}`);
      return 1;
    },
  ),
);

async function main(): Promise<void> {
  const demo = await startDemo(page);
  process.once("SIGINT", () => void demo.stop().finally(() => process.exit(130)));
  try {
    await showPods(page, demo);
    await showRequests(page, demo);
    await showKilledPause(page, demo);
  } catch (error) {
    page.note(`the daemon's log is ${demo.logFile}`);
    if (!keeps) await demo.stop();
    throw error;
  }
  if (keeps) {
    demo.daemon.leave();
    page.title("Still running");
    page.command(`${demo.binary} pods --root ${demo.root}`);
    page.note("Stop it all with:");
    page.command(`${demo.binary} rm --root ${demo.root} -f demo-pod shared-namespace-demo`);
    page.command(`kill ${[demo.daemon.pid(), demo.registryPid].join(" ").trim()}`);
    return;
  }
  page.title("Everything is stopped and removed");
  await demo.removePods();
  const left = await demo.leftovers();
  for (const line of left) page.line(`  ${line}`);
  await demo.stop();
  page.result(
    left.length === 0,
    left.length === 0 ? "nothing is left but the images" : "these were left behind",
  );
  if (left.length > 0 || existsSync(demo.socket)) throw new Error("podrt left something behind");
}
