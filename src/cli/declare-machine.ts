// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from "commander";
import { addInstanceOptions } from "./instance.ts";
import { seconds } from "./option-values.ts";
import type { DeclareBelow } from "./program.ts";
import { UsageError } from "./usage-error.ts";

/** The commands about the whole machine; one of them is below `debug`. */
export function declareMachine(declare: DeclareBelow, program: Command, debug: Command): void {
  declare(
    debug,
    "dump",
    "print records, processes, cgroups, mounts, metrics and the end of the log as JSON, without secrets",
    async () => (await import("./debug-dump.ts")).debugDump,
  ).addOption(
    new Option("--timeout <seconds>", "what the daemon gets to answer before the command looks by itself")
      .argParser(seconds)
      .default(10),
  );
  const setup = program.command("setup").description("make other programs use this runtime");
  addInstanceOptions(setup);
  declare(
    setup,
    "crictl",
    "write crictl's configuration",
    async () => (await import("./setup-crictl.ts")).setupCrictl,
  )
    .option("--path <file>", "write it here", "/etc/crictl.yaml")
    .option("--force", "replace a file that says something else");
}

/** Handled before this module is loaded; here only so that help tells of them. */
export function declareServe(program: Command): void {
  const handledEarlier = () => {
    throw new UsageError("this command must come first, before any option");
  };
  program
    .command("serve")
    .description("run the daemon: the CRI and podrt's own commands on a unix socket")
    .option("--root <dir>", "keep everything of this instance below one directory")
    .option("--config <file>", "read the configuration from here (/etc/podrt/config.toml)")
    .action(handledEarlier);
}
