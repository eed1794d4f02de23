// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import { reportOption } from "./output/format.ts";
import type { Declare } from "./program.ts";

/** The commands that tell what this program is, and give away a part of it. */
export function declareGetting(command: Declare): void {
  command(
    "pause",
    "be the init of a sandbox: reap, and wait for a signal to end; or write that init as an image",
    // What has neither option has become the init before this module is loaded.
    async () => (await import("./pause-image.ts")).writePauseImage,
    (declared: Command) =>
      declared
        .option("-v", "print the version")
        .option("--image <file>", "write it as an OCI archive for amd64 and arm64 (- is standard output)")
        .option("--name <reference>", "call the image so (localhost/podrt/pause:VERSION)"),
  );
  command(
    "version",
    "print the versions of this program and of the daemon",
    async () => (await import("./version.ts")).version,
  ).addOption(reportOption());
}
