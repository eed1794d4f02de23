// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, Option } from "commander";
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

function port(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 65_535) return value;
  throw new InvalidArgumentError("expected a port from 1 to 65535, or 0 for any that is free.");
}
