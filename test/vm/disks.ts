// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";
import type { Jobs } from "./job.ts";

export const vmDir = join(buildDir, "vm");
export const rootDisk = join(vmDir, "root.img");
export const projectDisk = join(vmDir, "project.img");
export const resultsDisk = join(vmDir, "results.img");

const projectSize = "4G";
const resultsSize = "128M";

/** What of the checkout tests read, besides the dependencies. */
const contents = [
  ...["package.json", "bunfig.toml", "tsconfig.json", "README.md", "Makefile", "biome.json"],
  ...["src", "test", "scripts", "pause", "proto", "examples", "docs", "dist", "systemd"],
  ...["bin", "busybox", "images", "suite-images", "packages"].map((name) => `.build/${name}`),
];
/** Tools that only `make check` and `make gen` call. */
const unwanted = ["@biomejs", "@typescript", "typescript", "@bufbuild/buf", "@bufbuild/buf-linux-x64"];

/** Makes the disk with this checkout and what each part is to run. */
export function makeProjectDisk(jobs: Jobs): void {
  const stage = join(vmDir, "project");
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(join(stage, ".build"), { recursive: true });
  try {
    // Hard links, where the file system has them.
    const present = contents.filter((name) => existsSync(join(projectDir, name)));
    succeed("cp", ["-al", "--parents", ...present, "node_modules", stage]);
    for (const name of unwanted) rmSync(join(stage, "node_modules", name), { recursive: true, force: true });
    writeFileSync(join(stage, ".build/jobs.json"), JSON.stringify(jobs));
    emptyFile(projectDisk, projectSize);
    succeed("mke2fs", ["-q", "-t", "ext4", "-O", "^has_journal", "-d", stage, projectDisk]);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Makes an empty disk for the results of one part. */
export function makeResultsDisk(): void {
  emptyFile(resultsDisk, resultsSize);
}

export function removeDisks(): void {
  for (const disk of [projectDisk, resultsDisk]) rmSync(disk, { force: true });
}

/** Unpacks what the machine wrote into `dir`, and answers the exit code of its job; undefined when it wrote nothing. */
export function readResults(dir: string): number | undefined {
  spawnSync("tar", ["-xf", resultsDisk, "-C", dir], { stdio: "ignore" });
  const exit = join(dir, "exit");
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
