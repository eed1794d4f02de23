// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";
import type { Job } from "./job.ts";

export const vmDir = join(buildDir, "vm");
export const rootDisk = join(vmDir, "root.img");
export const projectDisk = join(vmDir, "project.img");
export const resultsDisk = join(vmDir, "results.img");

const resultsDir = join(vmDir, "results");
const projectSize = "4G";
const resultsSize = "128M";

/** What of the checkout tests read, besides the dependencies. */
const contents = [
  ...["package.json", "bunfig.toml", "tsconfig.json", "README.md", "Makefile", "biome.json"],
  ...["src", "test", "scripts", "pause", "proto", "examples", "docs", "dist"],
  ...["bin", "busybox", "images", "suite-images", "packages"].map((name) => `.build/${name}`),
];
/** Tools that only `make check` and `make gen` call. */
const unwanted = ["@biomejs", "@typescript", "typescript", "@bufbuild/buf", "@bufbuild/buf-linux-x64"];

/** Makes the disk with this checkout and the job, and an empty one for the results. */
export function makeDisks(job: Job): void {
  const stage = join(vmDir, "project");
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(join(stage, ".build"), { recursive: true });
  try {
    // Hard links, where the file system has them.
    const present = contents.filter((name) => existsSync(join(projectDir, name)));
    succeed("cp", ["-al", "--parents", ...present, "node_modules", stage]);
    for (const name of unwanted) rmSync(join(stage, "node_modules", name), { recursive: true, force: true });
    writeFileSync(join(stage, ".build/job.json"), JSON.stringify(job));
    emptyFile(projectDisk, projectSize);
    succeed("mke2fs", ["-q", "-t", "ext4", "-O", "^has_journal", "-d", stage, projectDisk]);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  emptyFile(resultsDisk, resultsSize);
}

/** Unpacks what the machine wrote, and answers the exit code of its job; undefined when it did not come so far. */
export function readResults(): number | undefined {
  rmSync(resultsDir, { recursive: true, force: true });
  mkdirSync(resultsDir, { recursive: true });
  spawnSync("tar", ["-xf", resultsDisk, "-C", resultsDir], { stdio: "ignore" });
  for (const disk of [projectDisk, resultsDisk]) rmSync(disk, { force: true });
  const exit = join(resultsDir, "exit");
  return existsSync(exit) ? Number(readFileSync(exit, "utf8")) : undefined;
}

function emptyFile(file: string, size: string): void {
  rmSync(file, { force: true });
  succeed("truncate", ["-s", size, file]);
}

function succeed(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { cwd: projectDir, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args[0]}: ${error?.message ?? stderr}`);
}
