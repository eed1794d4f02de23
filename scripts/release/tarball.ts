// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { type Release, run, stage } from "./release.ts";

/** Makes podrt-VERSION-linux-MACHINE.tar.gz, whose one directory holds what belongs below /usr/local. */
export function makeTarball(release: Release): string {
  const { version, architecture, time, scratchDir, outDir } = release;
  const name = `podrt-${version}-linux-${architecture}`;
  const dir = stage(release, "/usr/local");
  run("mv", [join(dir, "usr/local"), join(scratchDir, name)]);
  const tar = join(scratchDir, `${name}.tar`);
  const sameForAll = ["--sort=name", `--mtime=@${time}`, "--owner=0", "--group=0", "--numeric-owner"];
  run("tar", ["--format=ustar", ...sameForAll, "--create", "--file", tar, "--directory", scratchDir, name]);
  run("gzip", ["--no-name", "-4", tar]);
  const file = join(outDir, `${name}.tar.gz`);
  run("mv", [`${tar}.gz`, file]);
  run("rm", ["-r", dir, join(scratchDir, name)]);
  return file;
}
