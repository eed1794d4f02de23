// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BINUTILS, type Binutils, generatedFile, isInstalled } from "./binutils.ts";

/**
 * Assembles pause/*.S for every architecture and writes machine-code/*.ts into src/gen, or into the directory named as
 * argument. The results are committed, so only somebody who changes the assembly, or the version in package.json,
 * needs binutils. The same sources give the same bytes. What there are no binutils for stays as it is, and that is said.
 */
const ROOT = join(import.meta.dir, "..");
const SOURCES = join(ROOT, "pause");
const PAUSE_LIMIT_BYTES = 1024;
const MONITOR_LIMIT_BYTES = 4096;

/** Runs one tool of binutils and answers its output; says what to install when it is missing. */
function run({ prefix, debianPackage }: Binutils, tool: string, ...args: string[]): string {
  const name = `${prefix}${tool}`;
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: "utf8" });
  if (error) throw new Error(`cannot run ${name}: ${error.message} (install the package ${debianPackage})`);
  if (status !== 0) throw new Error(`${name} ${args.join(" ")} failed:\n${stderr}`);
  return stdout;
}

type Assembled = { readonly bytes: Uint8Array; readonly symbols: ReadonlyMap<string, number> };

/** One source as flat bytes, with the offsets of its global symbols. */
function assemble(binutils: Binutils, directory: string, source: string, ...options: string[]): Assembled {
  const object = join(directory, `${source}.o`);
  const binary = join(directory, `${source}.bin`);
  const includes = ["-I", SOURCES, "-I", directory];
  const flags = [...binutils.options, "--fatal-warnings", ...includes, ...options];
  run(binutils, "as", ...flags, "-o", object, join(SOURCES, source));
  // Nobody relocates these bytes: not a linker here, not a loader later.
  if (!run(binutils, "readelf", "--relocs", object).includes("no relocations")) {
    throw new Error(`${source} needs relocation: an undefined symbol, or an address used as a constant`);
  }
  run(binutils, "objcopy", "-O", "binary", "-j", ".text", object, binary);
  const symbols = new Map<string, number>();
  for (const line of run(binutils, "nm", "--extern-only", "--defined-only", object).trim().split("\n")) {
    const [offset, , name] = line.split(" ");
    if (offset && name) symbols.set(name, Number.parseInt(offset, 16));
  }
  return { bytes: readFileSync(binary), symbols };
}

function limitSize(name: string, { bytes }: Assembled, limitBytes: number): void {
  if (bytes.length > limitBytes) throw new Error(`${name} has ${bytes.length} bytes, over ${limitBytes}`);
}

function offsetOf({ symbols }: Assembled, name: string): number {
  const offset = symbols.get(name);
  if (offset === undefined) throw new Error(`the engine defines no ${name}`);
  return offset;
}

/** One exported constant, base64 in lines of the width the formatter keeps. */
function constant(name: string, comment: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,100}/g) ?? [];
  return `/** ${comment} ${bytes.length} bytes. */
export const ${name}: Uint8Array<ArrayBuffer> = decode(
${lines.map((line) => `  "${line}"`).join(" +\n")},
);
`;
}

const HEAD = `// SPDX-License-Identifier: Apache-2.0
// Written by scripts/assemble.ts from pause/*.S: do not edit.

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

`;

function moduleOf(binutils: Binutils, directory: string): string {
  const { name, sourceSuffix } = binutils;
  const pause = assemble(binutils, directory, `pause.${sourceSuffix}.S`);
  const monitor = assemble(binutils, directory, `monitor.${sourceSuffix}.S`);
  const engine = assemble(binutils, directory, `engine.${sourceSuffix}.S`, "--defsym", "CALLABLE=1");
  limitSize(`pause for ${name}`, pause, PAUSE_LIMIT_BYTES);
  limitSize(`monitor for ${name}`, monitor, MONITOR_LIMIT_BYTES);
  return `${HEAD}${constant("PAUSE_ELF", `PID 1 of a sandbox: a static ${name} ELF file.`, pause.bytes)}
${constant("MONITOR_ELF", `Parent of a pod's processes: a static ${name} ELF file.`, monitor.bytes)}
${constant("ENGINE_CODE", `The launch engine alone: position-independent ${name} code.`, engine.bytes)}
/** Offset in ENGINE_CODE of \`engine_run(table)\`: runs a launch table in the caller. */
export const ENGINE_RUN_OFFSET: number = ${offsetOf(engine, "engine_run")};

/** Offset in ENGINE_CODE of \`engine_child(table)\`: the entry for clone(2), never returns. */
export const ENGINE_CHILD_OFFSET: number = ${offsetOf(engine, "engine_child")};
`;
}

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
const target = process.argv[2] ?? join(ROOT, "src/gen");
const directory = mkdtempSync(join(tmpdir(), "podrt-assemble-"));
try {
  writeFileSync(join(directory, "version.inc"), `\t.ascii\t${JSON.stringify(version)}\n`);
  for (const binutils of BINUTILS) {
    const file = generatedFile(binutils);
    if (!isInstalled(binutils)) {
      console.log(`${file} is not written: install the package ${binutils.debianPackage}`);
      continue;
    }
    mkdirSync(dirname(join(target, file)), { recursive: true });
    writeFileSync(join(target, file), moduleOf(binutils, directory));
  }
} finally {
  rmSync(directory, { recursive: true });
}
