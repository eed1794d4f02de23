// SPDX-License-Identifier: Apache-2.0

/**
 * Makes what podrt is given away as: .deb, .rpm, a tarball and a bill of materials for x86-64 and for aarch64, the image
 * of its pause for both, and the sums of all. The same commit gives the same bytes: their date is SOURCE_DATE_EPOCH, or
 * the commit's.
 *
 * usage: bun scripts/release/make-release.ts [DIR]   into DIR instead of dist/packages
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { version } from "../../package.json";
import { ARCHITECTURE, type Architecture } from "../../src/linux/architecture.ts";
import { billOfMaterials } from "./bill-of-materials.ts";
import { makeDeb } from "./deb.ts";
import { projectDir, type Release, run } from "./release.ts";
import { makeRpm } from "./rpm.ts";
import { makeTarball } from "./tarball.ts";

const ARCHITECTURES: readonly Architecture[] = ["x86_64", "aarch64"];

const time = releaseTime();
const outDir = resolve(process.argv[2] ?? join(projectDir, "dist/packages"));
const scratchDir = mkdtempSync(join(tmpdir(), "podrt-dist-"));
try {
  const programs = new Map(ARCHITECTURES.map((architecture) => [architecture, build(architecture)]));
  const writer = programs.get(ARCHITECTURE)!;
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  const pauseImage = join(outDir, `podrt-pause-${version}.oci.tar`);
  run(writer, ["pause", "--image", pauseImage]);
  const files = [...programs].flatMap(([architecture, program]) =>
    packagesFor(architecture, program, writer),
  );
  files.push(pauseImage);
  writeFileSync(join(outDir, "SHA256SUMS"), files.map(sumLine).sort().join(""));
  for (const file of files) console.log(`${file} (${statSync(file).size} bytes)`);
  const { commit } = JSON.parse(run(writer, ["version", "-o", "json"])) as { commit: string | null };
  if (commit?.endsWith("-dirty")) console.log(`made from changed files: ${commit}`);
} finally {
  rmSync(scratchDir, { recursive: true });
}

function build(architecture: Architecture): string {
  const program = join(scratchDir, `podrt-${architecture}`);
  const env = { SOURCE_DATE_EPOCH: String(time) };
  run(join(projectDir, "scripts/build-binary.sh"), [program, architecture], env);
  return program;
}

/** Everything that is made for one machine. */
function packagesFor(architecture: Architecture, program: string, writer: string): string[] {
  const bill = join(outDir, `podrt-${version}-linux-${architecture}.cdx.json`);
  writeFileSync(bill, billOfMaterials(version, architecture, time));
  const own = join(scratchDir, architecture);
  mkdirSync(own);
  const glibc = newestGlibc(program);
  const release: Release = {
    ...{ version, architecture, time, program, writer, glibc },
    ...{ billOfMaterials: bill, scratchDir: own, outDir },
  };
  return [
    makeTarball(release),
    ...withTool("dpkg-deb", `.deb for ${architecture}`, () => makeDeb(release)),
    ...withTool("rpmbuild", `.rpm for ${architecture}`, () => makeRpm(release)),
    bill,
  ];
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
function withTool(tool: string, what: string, make: () => string): string[] {
  if (Bun.which(tool) !== null) return [make()];
  console.log(`no ${what} is made: ${tool} is not here`);
  return [];
}

function sumLine(file: string): string {
  return `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${basename(file)}\n`;
}
