// SPDX-License-Identifier: Apache-2.0

/**
 * Sees that the pinned Bun of another machine is below .build/bun, and prints its path: podrt for that machine is this
 * program with podrt's code behind it. It comes from the package registry and must have the sum that package-lock.json
 * has for it.
 *
 * usage: bun scripts/fetch-bun.ts x86_64|aarch64
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

const PACKAGES: Readonly<Record<string, string>> = {
  x86_64: "@oven/bun-linux-x64",
  aarch64: "@oven/bun-linux-aarch64",
};

const projectDir = resolve(import.meta.dir, "..");

try {
  console.log(fetchBun(process.argv[2] ?? ""));
} catch (error) {
  console.error(`make: ${(error as Error).message}`);
  process.exitCode = 1;
}

function fetchBun(architecture: string): string {
  const name = PACKAGES[architecture];
  if (name === undefined)
    fail(`ARCH is ${architecture}, but podrt is for ${Object.keys(PACKAGES).join(" and ")}`);
  const lock = JSON.parse(readFileSync(join(projectDir, "package-lock.json"), "utf8"));
  const { version, integrity } = lock.packages[`node_modules/${name}`] as {
    version: string;
    integrity: string;
  };
  const directory = join(projectDir, ".build/bun");
  const program = join(directory, `bun-${version}-${architecture}`);
  if (existsSync(program)) return program;

  console.error(`make: fetching ${name} ${version}`);
  mkdirSync(directory, { recursive: true });
  const scratch = mkdtempSync(join(directory, "fetch-"));
  try {
    run("npm", ["pack", "--silent", "--pack-destination", scratch, `${name}@${version}`]);
    const archive = join(scratch, `${name.slice(1).replace("/", "-")}-${version}.tgz`);
    const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (found !== integrity)
      fail(`${name} ${version} has the sum ${found}, but package-lock.json wants ${integrity}`);
    run("tar", ["-xzf", archive, "-C", scratch, "package/bin/bun"]);
    renameSync(join(scratch, "package/bin/bun"), program);
    return program;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { cwd: projectDir, encoding: "utf8" });
  if (error) fail(`cannot run ${program}: ${error.message}`);
  if (status !== 0) fail(`${program} ${args.join(" ")} failed: ${stderr.trim()}`);
}

function fail(problem: string): never {
  throw new Error(problem);
}
