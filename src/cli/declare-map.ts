// SPDX-License-Identifier: Apache-2.0
import type { Option } from "commander";
import type { Declare } from "./program.ts";

/** The commands that draw pods. */
export function declareMap(command: Declare, outputOption: () => Option): void {
  command(
    "map [pods...]",
    "draw pods, the pause of each, its containers, and the namespaces that they share",
    async () => (await import("./map/map.ts")).map,
  )
    .usage("[options] [pod...]")
    .option("--svg [file]", "as a picture for a browser or a page, into a file .svg or to standard output")
    .addOption(outputOption());
}
