// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectDir } from "../fixtures/images/packages.ts";
import { busyboxDir, goPrograms, guest, isOwn, podrt, vmDir } from "./guest.ts";
import type { Jobs } from "./job.ts";

export const rootDisk = join(vmDir, "root.img");
export const projectDisk = join(vmDir, "project.img");
export const resultsDisk = join(vmDir, "results.img");

const projectSize = "4G";
const resultsSize = "128M";

/** What of the checkout tests read, besides the dependencies. */
const contents = [
  ...["package.json", "bunfig.toml", "tsconfig.json", "README.md", "Makefile", "biome.json"],
  ...["src", "test", "scripts", "pause", "proto", "examples", "docs", "systemd"],
];
/** Directories of images for the tests, and for the validation suite. */
const imageNames = ["images", "suite-images"];
/** What is in it for the guest's processor alone. A guest of another kind makes the images by itself, of its own programs. */
const ownContents = [
  "dist",
  ...["bin", "busybox", ...imageNames, "packages"].map((name) => `.build/${name}`),
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
    const present = [...contents, ...(isOwn ? ownContents : [])].filter((name) =>
      existsSync(join(projectDir, name)),
    );
    run("cp", ["-al", "--parents", ...present, "node_modules", stage]);
    for (const name of unwanted) rmSync(join(stage, "node_modules", name), { recursive: true, force: true });
    if (!isOwn) placeForeignPrograms(stage);
    writeFileSync(join(stage, ".build/jobs.json"), JSON.stringify(jobs));
    emptyFile(projectDisk, projectSize);
    run("mke2fs", ["-q", "-t", "ext4", "-O", "^has_journal", "-d", stage, projectDisk]);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** What is built for a guest of another kind than this machine, under the names by which the tests call it. */
function placeForeignPrograms(stage: string): void {
  mkdirSync(join(stage, "dist"));
  cpSync(podrt, join(stage, "dist/podrt"));
  for (const [dir, name] of [
    [goPrograms, "bin"],
    [busyboxDir, "busybox"],
    ...imageNames.map((name) => [join(vmDir, name), name] as const),
  ] as const)
    if (existsSync(dir))
      cpSync(dir, join(stage, ".build", name), { recursive: true, preserveTimestamps: true });
  const bun = run(process.execPath, ["scripts/fetch-bun.ts", guest.architecture]).trim();
  const place = join(stage, "node_modules/bun/bin/bun.exe");
  // A new file: the one that is there has a link in the checkout.
  cpSync(bun, `${place}.new`);
  renameSync(`${place}.new`, place);
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

/** Keeps images that the machine made, for its next boots; answers whether there are any in its results. */
export function keepImages(resultsDir: string): boolean {
  const made = imageNames.filter((name) => existsSync(join(resultsDir, name)));
  for (const name of made) {
    rmSync(join(vmDir, name), { recursive: true, force: true });
    renameSync(join(resultsDir, name), join(vmDir, name));
  }
  return made.length > 0;
}

function emptyFile(file: string, size: string): void {
  rmSync(file, { force: true });
  run("truncate", ["-s", size, file]);
}

/** Answers what the program prints; one that fails is an error. */
function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: projectDir, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args[0]}: ${error?.message ?? stderr}`);
  return stdout;
}
