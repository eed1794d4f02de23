// SPDX-License-Identifier: Apache-2.0
import type { CronJob } from "../gen/podrt/v1/podrt_pb.ts";
import { openDaemon, promptly } from "./client.ts";
import { age, timestamp } from "./human.ts";
import { podTitle } from "./inventory.ts";
import { type Listing, printRows } from "./output/print.ts";
import type { Context } from "./program.ts";

/** Lists the CronJobs that are kept. */
export async function cronJobs({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { cronJobs: jobs } = await daemon.pods.listCronJobs({}, promptly());
  await printRows({ io, output }, jobs, LISTING);
  return 0;
}

const LISTING: Listing<CronJob> = {
  columns: [
    { heading: "NAME", cell: ({ name }) => name?.name ?? "" },
    { heading: "NAMESPACE", cell: ({ name }) => name?.namespace ?? "" },
    {
      heading: "SCHEDULE",
      cell: ({ schedule, timeZone }) => (timeZone === "" ? schedule : `${schedule} ${timeZone}`),
    },
    {
      heading: "NEXT RUN",
      cell: ({ suspended, nextRunNs }) => (suspended ? "suspended" : (timeOf(nextRunNs) ?? "never")),
    },
    { heading: "LAST", cell: ({ lastRunNs }) => (lastRunNs === 0n ? "-" : age(lastRunNs)) },
    { heading: "ACTIVE", cell: ({ active }) => active.join(",") || "-" },
    { heading: "LAST RUN", cell: ({ lastRunNs }) => timeOf(lastRunNs) ?? "-", wide: true },
  ],
  object: ({ name, schedule, timeZone, suspended, lastRunNs, nextRunNs, active }) => ({
    namespace: name?.namespace,
    name: name?.name,
    schedule,
    timeZone,
    suspended,
    lastRun: timeOf(lastRunNs),
    nextRun: timeOf(nextRunNs),
    active,
  }),
  name: ({ name }) => podTitle(name ?? { namespace: "", name: "" }),
};

function timeOf(ns: bigint): string | undefined {
  return ns === 0n ? undefined : timestamp(ns).replace(".000Z", "Z");
}
