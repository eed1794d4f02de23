// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

export const projectDir = resolve(import.meta.dir, "../..");

/** What all artefacts of one run have in common. */
export interface Release {
  readonly version: string;
  /** Seconds since 1970: the date of everything that has one. */
  readonly time: number;
  /** The compiled program. */
  readonly program: string;
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
export function stage({ program, billOfMaterials, scratchDir, time }: Release, prefix: string): string {
  const dir = join(scratchDir, `stage${prefix.replaceAll("/", "-")}`);
  run(join(projectDir, "scripts/install.sh"), [program], { DESTDIR: dir, PREFIX: prefix });
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
