// SPDX-License-Identifier: Apache-2.0
import { Option } from "commander";
import { interval, lineCount, waitLimit } from "./option-values.ts";
import { listOption, reportOption } from "./output/format.ts";
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
    .option("-n, --tail <lines>", "begin with the last lines only, of each container", lineCount)
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
    .option("--timeout <duration>", "give up after so long: 30s, 5m", waitLimit)
    .addOption(reportOption());
}

function intervalOption(description: string): Option {
  return new Option("--interval <duration>", description).argParser(interval).default(2000, "2s");
}
