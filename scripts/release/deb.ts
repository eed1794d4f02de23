// SPDX-License-Identifier: Apache-2.0
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
// Debian names these machines as Go does.
import { goName } from "../../src/linux/architecture.ts";
import { projectDir, type Release, run, setTimes, stage } from "./release.ts";

const SCRIPTS = ["postinst", "prerm", "postrm"];

/** Makes podrt_VERSION_MACHINE.deb by dpkg-deb, where the machine is amd64 or arm64. */
export function makeDeb(release: Release): string {
  const { version, glibc, time, outDir } = release;
  const architecture = goName(release.architecture);
  const sources = join(projectDir, "packaging/deb");
  const dir = stage(release, "/usr");
  cpSync(join(sources, "copyright"), join(dir, "usr/share/doc/podrt/copyright"));
  const control = readFileSync(join(sources, "control"), "utf8")
    .replace("@VERSION@", version)
    .replace("@ARCHITECTURE@", architecture)
    .replace("@KILOBYTES@", String(kilobytesIn(dir)))
    .replace("@GLIBC@", glibc);
  mkdirSync(join(dir, "DEBIAN"));
  writeFileSync(join(dir, "DEBIAN/control"), control);
  for (const script of SCRIPTS) cpSync(join(sources, script), join(dir, "DEBIAN", script));
  setTimes(dir, time);
  const file = join(outDir, `podrt_${version}_${architecture}.deb`);
  // gzip is what every dpkg reads, and with one thread the bytes do not depend on the machine.
  const options = ["--root-owner-group", "-Zgzip", "-z4", "--threads-max=1"];
  run("dpkg-deb", [...options, "--build", dir, file], { SOURCE_DATE_EPOCH: String(time) });
  run("rm", ["-r", dir]);
  return file;
}

/** As Debian's policy counts: each file in whole kilobytes, and one for each directory. */
function kilobytesIn(dir: string): number {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true });
  const sizes = entries.map((entry) =>
    entry.isDirectory() ? 1 : Math.ceil(statSync(join(entry.parentPath, entry.name)).size / 1024),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
