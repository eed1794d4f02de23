// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import type { Architecture } from "../../src/linux/architecture.ts";

export const projectDir = resolve(import.meta.dir, "../..");

/** What all artefacts for one machine have in common. */
export interface Release {
  readonly version: string;
  readonly architecture: Architecture;
  /** Seconds since 1970: the date of everything that has one. */
  readonly time: number;
  /** The program, compiled for that machine. */
  readonly program: string;
  /** The same for this machine, which writes completions and man pages. */
  readonly writer: string;
  /** The newest version of glibc that the program asks for, as `2.29`. */
  readonly glibc: string;
  /** The bill of materials, for people and programs. */
  readonly billOfMaterials: string;
  /** For intermediate files; removed in the end. */
  readonly scratchDir: string;
  /** Where the artefacts go. */
  readonly outDir: string;
}

/** Runs a program to its end and answers its output; an error has what it said. */
export function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: projectDir,
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) throw new Error(`cannot run ${program}: ${error.message}`);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed:\n${stderr || stdout}`);
  return stdout;
}

/**
 * What `make install` would put below `prefix`, in a directory of its own, with the bill of materials: no record for
 * `make uninstall`, since packages keep their own. Answers the directory.
 */
export function stage(release: Release, prefix: string): string {
  const { program, writer, billOfMaterials, scratchDir, time } = release;
  const dir = join(scratchDir, `stage${prefix.replaceAll("/", "-")}`);
  run(join(projectDir, "scripts/install.sh"), [program, writer], { DESTDIR: dir, PREFIX: prefix });
  run("rm", ["-r", join(dir, prefix, "share/podrt")]);
  run("cp", [billOfMaterials, join(dir, prefix, "share/doc/podrt/sbom.cdx.json")]);
  setTimes(dir, time);
  return dir;
}

/** Gives everything in a tree the release's time, and what is no program the usual mode. */
export function setTimes(dir: string, time: number): void {
  run("chmod", ["-R", "u=rwX,go=rX", dir]);
  run("find", [dir, "-exec", "touch", "--no-dereference", "--date", `@${time}`, "{}", "+"]);
}
