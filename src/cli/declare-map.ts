// SPDX-License-Identifier: Apache-2.0
import { Option } from "commander";
import { port } from "./option-values.ts";
import { reportOption } from "./output/format.ts";
import type { Declare } from "./program.ts";

/** The commands that draw pods. */
export function declareMap(command: Declare): void {
  command(
    "map [pods...]",
    "draw pods, the pause of each, its containers, and the namespaces that they share",
    async () => (await import("./map/map.ts")).map,
  )
    .usage("[options] [pod...]")
    .option("--svg [file]", "as a picture for a browser or a page, into a file .svg or to standard output")
    .addOption(reportOption());
  command(
    "dashboard",
    "serve a page on loopback that shows the map, pods, containers, usage and events as they are",
    async () => (await import("./dashboard/dashboard.ts")).dashboard,
  ).addOption(
    new Option("--port <number>", "serve it there instead of at any port that is free")
      .argParser(port)
      .default(0),
  );
}
