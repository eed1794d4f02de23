// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "commander";
import type { Declare } from "./program.ts";
import { since } from "./since.ts";

/** The commands that show what pods and containers do. */
export function declareSeeing(command: Declare): void {
  command(
    "logs <name>",
    "print the logs of a container, or of all containers of a pod in the order of their times",
    async () => (await import("./logs/logs.ts")).logs,
  )
    .usage("[options] <container | pod>")
    .option("-f, --follow", "go on until it ends")
    .option("--since <when>", "only lines since then: 10m, 1h30m, or 2026-01-31T12:00:00Z", since)
    .option("--tail <lines>", "begin with the last lines only, of each container", count)
    .option("-p, --previous", "of the containers before the present ones, which were started again")
    .option("--timestamps", "show when each line was written");
}

function count(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 1_000_000) return value;
  throw new InvalidArgumentError("expected a number of lines from 0 to 1000000.");
}
