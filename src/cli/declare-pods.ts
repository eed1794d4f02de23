// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from "commander";
import { addInstanceOptions } from "./instance.ts";
import { seconds } from "./option-values.ts";
import { listOption } from "./output/format.ts";
import { addPermissionOptions } from "./permission-flags.ts";
import type { Declare, DeclareBelow } from "./program.ts";
import { addRunOptions } from "./run-options.ts";

/** The commands that make pods, list them and end them. */
export function declarePods(command: Declare): void {
  const run = command(
    "run <image-or-manifests...>",
    "keep the pods of manifests, or a pod of one image, and show their logs until Ctrl-C",
    async () => (await import("./run.ts")).run,
  ).usage("[options] <file | directory | URL | - ...>\n       podrt run [options] <image> [command...]");
  addRunOptions(run);
  addPermissionOptions(
    command(
      "apply [manifests...]",
      "keep the pods of manifests as they are now: run, update or replace them",
      async () => (await import("./apply.ts")).apply,
    )
      .usage("[options] <file | directory | URL | - ...>")
      .addOption(filenameOption()),
  );
  command(
    "down [manifests...]",
    "remove the pods of manifests; their claims stay; `delete` is the same",
    async () => (await import("./apply.ts")).down,
  )
    .alias("delete")
    .usage("[options] <file | directory | URL | - ...>")
    .addOption(filenameOption())
    .option("-t, --time <seconds>", "time between the stop signal and SIGKILL", seconds);
  command("pods", "list pods", async () => (await import("./pods.ts")).pods).addOption(listOption());
  command(
    "cronjobs",
    "list CronJobs with their next runs",
    async () => (await import("./cron-jobs.ts")).cronJobs,
  ).addOption(listOption());
  command("stop <pods...>", "stop pods and leave them listed", async () => (await import("./stop.ts")).stop)
    .usage("[options] <pod...>")
    .option("-t, --time <seconds>", "time between the stop signal and SIGKILL", seconds);
  command("rm <pods...>", "remove pods with their volumes and logs", async () => (await import("./rm.ts")).rm)
    .usage("[options] <pod...>")
    .option("-f, --force", "also those that run; without -t they are killed at once")
    .option("-t, --time <seconds>", "time between the stop signal and SIGKILL", seconds);
}

/** `volume` and what is below it. */
export function declareVolumes(declare: DeclareBelow, program: Command): void {
  const volume = program
    .command("volume")
    .description("look after the volumes that stay when their pods go: those of PersistentVolumeClaims");
  addInstanceOptions(volume);
  declare(
    volume,
    "ls",
    "list them, with the pods that use them and their paths",
    async () => (await import("./volumes.ts")).volumes,
  ).addOption(listOption());
  declare(
    volume,
    "rm <volumes...>",
    "delete volumes that no pod has, with all that is in them",
    async () => (await import("./volumes.ts")).removeVolumes,
  ).usage("[options] <volume | namespace/volume...>");
}

/** As people are used to from kubectl. */
function filenameOption(): Option {
  return new Option(
    "-f, --filename <manifest>",
    "a manifest, as without the option; may be given again",
  ).argParser((name, before: readonly string[] = []) => [...before, name]);
}
