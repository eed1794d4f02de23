// SPDX-License-Identifier: Apache-2.0

/**
 * Makes what podrt is given away as: .deb, .rpm and a tarball for x86-64, the image of its pause for x86-64 and aarch64,
 * the bill of materials, and the sums of all. The same commit gives the same bytes: their date is SOURCE_DATE_EPOCH, or
 * the commit's.
 *
 * There is no package for aarch64: the launch engine and the monitor are x86-64 machine code.
 *
 * usage: bun scripts/release/make-release.ts [DIR]   into DIR instead of dist/packages
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { version } from "../../package.json";
import { billOfMaterials } from "./bill-of-materials.ts";
import { makeDeb } from "./deb.ts";
import { projectDir, type Release, run } from "./release.ts";
import { makeRpm } from "./rpm.ts";
import { makeTarball } from "./tarball.ts";

if (process.arch !== "x64") fail(`packages are made on x86-64, for x86-64; this machine is ${process.arch}`);
const time = releaseTime();
const outDir = resolve(process.argv[2] ?? join(projectDir, "dist/packages"));
const scratchDir = mkdtempSync(join(tmpdir(), "podrt-dist-"));
try {
  const program = join(scratchDir, "podrt");
  run(join(projectDir, "scripts/build-binary.sh"), [program], { SOURCE_DATE_EPOCH: String(time) });
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  const bill = join(outDir, `podrt-${version}.cdx.json`);
  writeFileSync(bill, billOfMaterials(version, time));
  const glibc = newestGlibc(program);
  const release: Release = { version, time, program, glibc, billOfMaterials: bill, scratchDir, outDir };
  const pauseImage = join(outDir, `podrt-pause-${version}.oci.tar`);
  run(program, ["pause", "--image", pauseImage]);
  const files = [makeTarball(release), ...withTool("dpkg-deb", "deb", () => makeDeb(release))];
  files.push(...withTool("rpmbuild", "rpm", () => makeRpm(release)), pauseImage, bill);
  writeFileSync(join(outDir, "SHA256SUMS"), files.map(sumLine).sort().join(""));
  for (const file of files) console.log(`${file} (${statSync(file).size} bytes)`);
  const { commit } = JSON.parse(run(program, ["version", "-o", "json"])) as { commit: string | null };
  if (commit?.endsWith("-dirty")) console.log(`made from changed files: ${commit}`);
  console.log("no package is made for aarch64: the launch engine and the monitor are x86-64 machine code");
} finally {
  rmSync(scratchDir, { recursive: true });
}

function fail(problem: string): never {
  console.error(`make: ${problem}`);
  process.exit(1);
}

function releaseTime(): number {
  const given = process.env["SOURCE_DATE_EPOCH"] ?? "";
  if (given === "" && !existsSync(join(projectDir, ".git")))
    fail("this is no clone of the sources: say in SOURCE_DATE_EPOCH of when they are, in seconds since 1970");
  const text = given === "" ? run("git", ["log", "-1", "--format=%ct"]).trim() : given;
  if (!/^\d{1,11}$/.test(text)) fail(`SOURCE_DATE_EPOCH is ${text}, which is no number of seconds`);
  return Number(text);
}

/** Of the symbol versions that the program's dynamic section asks for. */
function newestGlibc(program: string): string {
  const versions = [...run("readelf", ["--version-info", program]).matchAll(/Name: GLIBC_(\d+(?:\.\d+)+)/g)];
  const newestFirst = (a: string, b: string) => b.localeCompare(a, "en", { numeric: true });
  const [newest] = versions.map((match) => match[1]!).sort(newestFirst);
  if (newest === undefined) throw new Error(`${program} asks for no version of glibc`);
  return newest;
}

/** What needs a tool that is not here is left out, and that is said. */
function withTool(tool: string, kind: string, make: () => string): string[] {
  if (Bun.which(tool) !== null) return [make()];
  console.log(`no .${kind} is made: ${tool} is not here`);
  return [];
}

function sumLine(file: string): string {
  return `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${basename(file)}\n`;
}
