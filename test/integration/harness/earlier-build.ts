// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { buildDir, projectDir } from "../../fixtures/images/packages.ts";

/** The version whose pods test/fixtures/upgrade has. */
const COMMIT = "66672e859c1931458de680ccfa71910abaf44877";

/** Whether the history reaches so far; it does not in a shallow clone. */
export const hasEarlierSources =
  spawnSync("git", ["-C", projectDir, "cat-file", "-e", `${COMMIT}^{commit}`]).status === 0;

/** Builds podrt from the sources of that version, once; answers where it is. */
export function earlierBuild(): string {
  const dir = join(buildDir, `podrt-${COMMIT.slice(0, 7)}`);
  const program = join(dir, "podrt");
  if (existsSync(program)) return program;
  const making = `${dir}.partial`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  run(
    "sh",
    "-c",
    `git -C '${projectDir}' archive ${COMMIT} src Makefile package.json | tar -x -C '${making}'`,
  );
  symlinkSync(join(projectDir, "node_modules"), join(making, "node_modules"));
  run("make", "-C", making, "-o", "node_modules/.stamp", "dist/podrt");
  renameSync(join(making, "dist/podrt"), join(making, "podrt"));
  rmSync(dir, { recursive: true, force: true });
  renameSync(making, dir);
  return program;
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${stderr}`);
}
