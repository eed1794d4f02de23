// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { projectDir, type Release, run, stage } from "./release.ts";

/** Directories that are the package's own, not only its files. */
const OWN_DIRECTORIES = ["/usr/share/doc/podrt", "/usr/share/doc/podrt/examples"];

/** Makes podrt-VERSION-1.MACHINE.rpm by rpmbuild, where the machine is x86_64 or aarch64. */
export function makeRpm(release: Release): string {
  const { version, architecture, glibc, time, scratchDir, outDir } = release;
  const dir = stage(release, "/usr");
  const topDir = join(scratchDir, "rpm");
  mkdirSync(topDir);
  const list = join(topDir, "files");
  writeFileSync(list, `${fileList(dir).join("\n")}\n`);
  const settings = {
    _topdir: topDir,
    _rpmdir: topDir,
    _rpmfilename: "podrt.rpm",
    _buildhost: "podrt.invalid",
    use_source_date_epoch_as_buildtime: "1",
    clamp_mtime_to_source_date_epoch: "1",
    podrt_version: version,
    podrt_glibc: glibc,
    podrt_stage: dir,
    podrt_files: list,
  };
  const defines = Object.entries(settings).flatMap(([name, value]) => ["--define", `${name} ${value}`]);
  const spec = join(projectDir, "packaging/rpm/podrt.spec");
  run("rpmbuild", ["-bb", "--target", `${architecture}-linux`, ...defines, spec], {
    SOURCE_DATE_EPOCH: String(time),
  });
  const file = join(outDir, `podrt-${version}-1.${architecture}.rpm`);
  run("cp", [join(topDir, "podrt.rpm"), file]);
  run("rm", ["-r", dir]);
  return file;
}

function fileList(dir: string): string[] {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => `/${relative(dir, join(entry.parentPath, entry.name))}`);
  const rootOwned = "%defattr(-,root,root,-)";
  return [rootOwned, ...OWN_DIRECTORIES.map((path) => `%dir ${path}`), ...files.sort()];
}
