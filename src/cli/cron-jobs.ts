// SPDX-License-Identifier: Apache-2.0
import { openDaemon, promptly } from "./client.ts";
import { age } from "./human.ts";
import type { Context } from "./program.ts";
import { formatTable } from "./table.ts";

/** Lists the CronJobs that are kept. */
export async function cronJobs({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { cronJobs: jobs } = await daemon.pods.listCronJobs({}, promptly());
  if (output === "json") {
    const objects = jobs.map(({ name, schedule, timeZone, suspended, lastRunNs, nextRunNs, active }) => ({
      namespace: name?.namespace,
      name: name?.name,
      schedule,
      timeZone,
      suspended,
      lastRun: timeOf(lastRunNs),
      nextRun: timeOf(nextRunNs),
      active,
    }));
    await io.out(`${JSON.stringify(objects, null, 2)}\n`);
    return 0;
  }
  const rows = jobs.map(({ name, schedule, timeZone, suspended, lastRunNs, nextRunNs, active }) => [
    name?.name ?? "",
    name?.namespace ?? "",
    timeZone === "" ? schedule : `${schedule} ${timeZone}`,
    suspended ? "suspended" : (timeOf(nextRunNs) ?? "never"),
    lastRunNs === 0n ? "-" : age(lastRunNs),
    active.length === 0 ? "-" : active.join(","),
  ]);
  await io.out(formatTable(["NAME", "NAMESPACE", "SCHEDULE", "NEXT RUN", "LAST", "ACTIVE"], rows));
  return 0;
}

function timeOf(ns: bigint): string | undefined {
  return ns === 0n ? undefined : new Date(Number(ns / 1_000_000n)).toISOString().replace(".000Z", "Z");
}
