// SPDX-License-Identifier: Apache-2.0

import { reportOption } from "./output/format.ts";
import { addPermissionOptions } from "./permission-flags.ts";
import type { Declare } from "./program.ts";

/** The commands that say why things are as they are, and what would be done. */
export function declareExplaining(command: Declare): void {
  addPermissionOptions(
    command(
      "explain <manifests...>",
      "print what `podrt run` would do with manifests, down to the system calls, and do nothing of it",
      async () => (await import("./explain/explain.ts")).explain,
    )
      .usage("[options] <file | directory | URL | - ...>")
      .option("--calls", "also each system call of the launch programs")
      .option("--offline", "do not ask registries for the digests and sizes of what would be pulled")
      .addOption(reportOption()),
  );
  command(
    "why <names...>",
    "tell why a pod or container is in its state, and what to do about it",
    async () => (await import("./why/why.ts")).why,
  )
    .usage("[options] <pod | container...>")
    .addOption(reportOption());
  command(
    "policy <name>",
    "show what containers were to be allowed, what they got, and which Pod Security Standards they keep",
    async () => (await import("./policy/policy.ts")).policy,
  )
    .usage("[options] <pod | container>")
    .addOption(reportOption());
  command(
    "doctor",
    "look for what is amiss with the machine and with podrt's own; exits with 1 on a failure",
    async () => (await import("./doctor/doctor.ts")).doctor,
  )
    .option("--fix", "remove what podrt has made and nothing owns any more; settings of the machine stay")
    .option("--config <file>", "the configuration that the daemon was started with (/etc/podrt/config.toml)")
    .addOption(reportOption());
}
