// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, Option } from "commander";
import { listOption } from "./output/format.ts";
import type { Declare } from "./program.ts";
import { durationMs, since } from "./since.ts";

/** The commands that show what pods and containers do. */
export function declareSeeing(command: Declare, outputOption: () => Option): void {
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
  command(
    "events [names...]",
    "print what happens to pods, containers and images, and why, as it happens",
    async () => (await import("./events/events.ts")).events,
  )
    .usage("[options] [pod | container | image...]")
    .option(
      "--since <when>",
      "begin with what happened since then: 10m, 1h30m, or 2026-01-31T12:00:00Z",
      since,
    )
    .option("--no-follow", "print what is remembered, and end")
    .addOption(listOption());
  command(
    "stats [names...]",
    "print what running pods and containers use: CPU, memory, processes, network, block devices",
    async () => (await import("./stats/stats.ts")).stats,
  )
    .usage("[options] [pod | container...]")
    .option("-w, --watch", "again and again, until Ctrl-C")
    .addOption(intervalOption("how long between two looks, with --watch"))
    .addOption(listOption());
  command(
    "top",
    "show what pods and containers use on the whole terminal, until q; piped, once",
    async () => (await import("./top/top.ts")).top,
  )
    .addOption(
      new Option("--sort <what>", "what comes first; a key of its own changes it")
        .choices(["cpu", "memory", "pids", "network", "block", "restarts", "name"])
        .default("cpu"),
    )
    .addOption(intervalOption("how long between two looks"));
  command(
    "wait <name>",
    "wait for the end of a pod or container and print its exit codes, or until it runs or is ready",
    async () => (await import("./wait/wait.ts")).wait,
  )
    .usage("[options] <pod | container>")
    .addOption(
      new Option("--for <what>", "what to wait for").choices(["exit", "running", "ready"]).default("exit"),
    )
    .option("--timeout <duration>", "give up after so long: 30s, 5m", duration)
    .addOption(outputOption());
}

function intervalOption(description: string): Option {
  return new Option("--interval <duration>", description).argParser(interval).default(2000, "2s");
}

function interval(text: string): number {
  const ms = durationMs(text);
  if (ms !== undefined && ms >= 200 && ms <= 3_600_000) return ms;
  throw new InvalidArgumentError("expected a duration from 200ms to 1h, as in 2s.");
}

function duration(text: string): number {
  const ms = durationMs(text);
  if (ms !== undefined && ms <= MAX_WAIT_MS) return ms;
  throw new InvalidArgumentError("expected a duration of at most 24 days, as in 30s, 5m or 1h30m.");
}

/** What a timer can wait for. */
const MAX_WAIT_MS = 2 ** 31 - 1;

function count(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 1_000_000) return value;
  throw new InvalidArgumentError("expected a number of lines from 0 to 1000000.");
}
