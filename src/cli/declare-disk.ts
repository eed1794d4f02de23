// SPDX-License-Identifier: Apache-2.0

import { listOption } from "./output/format.ts";
import type { Declare } from "./program.ts";

/** The commands about what the instance has on disk. */
export function declareDisk(command: Declare): void {
  command(
    "df",
    "show what is on disk, by kind, and what of it nobody needs",
    async () => (await import("./disk/df.ts")).df,
  ).addOption(listOption());
  command(
    "gc",
    "remove images that nobody needs, and what interrupted pulls have left",
    async () => (await import("./disk/gc.ts")).gc,
  )
    .option("--dry-run", "only show what would go")
    .option("-y, --yes", "do not ask")
    .option("--pods", "also pods that are over, with their logs")
    .option("--volumes", "also volumes that no pod has, with all that is in them")
    .addOption(listOption())
    .addHelpText(
      "after",
      "\nAn image is needed by containers, by pods and CronJobs that are kept, and where the configuration pins it.",
    );
}
