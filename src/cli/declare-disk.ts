// SPDX-License-Identifier: Apache-2.0

import { age } from "./option-values.ts";
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
    .option(
      "--min-age <duration>",
      "leave images that were pulled or asked for less long ago, as in 10m or 0 (2m)",
      age,
    )
    .addOption(listOption())
    .addHelpText(
      "after",
      "\nAn image is needed by containers, by pods and CronJobs that are kept, by a pull of it, and where the configuration pins it.",
    );
}
