// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import { addColorOption } from "./instance.ts";
import { listOption, reportOption } from "./output/format.ts";
import type { Declare, DeclareBelow } from "./program.ts";
import { progressOption } from "./progress/option.ts";

/** The commands that list images and get them. */
export function declareImages(command: Declare): void {
  command("images", "list images", async () => (await import("./images.ts")).images).addOption(listOption());
  command("pull <reference>", "pull an image", async () => (await import("./pull.ts")).pull).addOption(
    progressOption("how to tell of it: for people, or as JSON, an object a line"),
  );
  command(
    "import <path>",
    "import an OCI layout, an OCI archive or a docker archive",
    async () => (await import("./import.ts")).importImage,
  )
    .option("--name <reference>", "call the image so")
    .addOption(progressOption("how to tell of it: for people, or as JSON, an object a line"));
}

/** `registry` and what is below it. */
export function declareRegistries(declare: DeclareBelow, program: Command): void {
  const registry = program.command("registry").description("look after the registries that images come from");
  declare(
    registry,
    "check <host>",
    "try each server that is configured for a registry, and say whether images can be pulled",
    async () => (await import("./registry-check.ts")).registryCheck,
    // No daemon is asked, only its configuration read.
    (declared) =>
      addColorOption(
        declared.option("--root <dir>", "use the configuration of the instance below this directory"),
      ),
  )
    .option("--config <file>", "the configuration that the daemon was started with (/etc/podrt/config.toml)")
    .addOption(reportOption());
}
