// SPDX-License-Identifier: Apache-2.0

/** Generates src/gen again in a temporary directory and says which committed file differs. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { BINUTILS, generatedFile, isInstalled } from "./binutils.ts";

const projectDir = resolve(import.meta.dir, "..");
const generatedDir = join(projectDir, "src/gen");
const scratchDir = mkdtempSync(join(tmpdir(), "podrt-generated-"));

try {
  const freshDir = join(scratchDir, "src/gen");
  const bin = join(projectDir, "node_modules/.bin");
  run(join(bin, "buf"), "generate", "proto", "--template", "proto/buf.gen.yaml", "-o", scratchDir);
  run(process.execPath, "scripts/assemble.ts", freshDir);
  const stale = [...new Set([...filesBelow(generatedDir), ...filesBelow(freshDir)])]
    .sort()
    .filter((file) => canBeMade(file))
    .filter((file) => contentOf(join(generatedDir, file)) !== contentOf(join(freshDir, file)));
  for (const file of stale) console.error(`src/gen/${file} is not what its source gives: run make gen`);
  if (stale.length > 0) process.exitCode = 1;
} finally {
  rmSync(scratchDir, { recursive: true });
}

/** Code for another machine needs its assembler, which few have. */
function canBeMade(file: string): boolean {
  return !BINUTILS.some((binutils) => generatedFile(binutils) === file && !isInstalled(binutils));
}

function run(program: string, ...args: string[]): void {
  const env = { ...process.env, PATH: `${join(projectDir, "node_modules/.bin")}:${process.env["PATH"]}` };
  const result = spawnSync(program, args, { cwd: projectDir, encoding: "utf8", env, timeout: 120_000 });
  if (result.status !== 0) {
    throw new Error(`${program} ${args.join(" ")} failed: ${result.stderr || result.stdout || result.error}`);
  }
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => relative(dir, join(dir, name)))
    .filter((name) => statSync(join(dir, name)).isFile());
}

function contentOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}
