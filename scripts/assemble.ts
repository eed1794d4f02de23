// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Assembles pause/*.S and writes machine-code.ts and machine-code-aarch64.ts into src/gen, or into the directory
 * named as argument. The results are committed, so only somebody who changes the assembly, or the version in
 * package.json, needs binutils. The same sources give the same bytes. Without the binutils of aarch64 the second
 * file stays as it is, and that is said.
 */
const ROOT = join(import.meta.dir, "..");
const SOURCES = join(ROOT, "pause");
const PAUSE_LIMIT_BYTES = 1024;
const MONITOR_LIMIT_BYTES = 4096;

/** The binutils of one machine: what their names begin with, their package, and what as needs to be told. */
interface Binutils {
  readonly prefix: string;
  readonly debianPackage: string;
  readonly options: readonly string[];
}

const X86_64: Binutils = { prefix: "", debianPackage: "binutils", options: ["--64"] };
const AARCH64: Binutils = {
  prefix: "aarch64-linux-gnu-",
  debianPackage: "binutils-aarch64-linux-gnu",
  options: [],
};

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

function x86Module(directory: string): string {
  const pause = assemble(X86_64, directory, "pause.x86_64.S");
  const monitor = assemble(X86_64, directory, "monitor.x86_64.S");
  const engine = assemble(X86_64, directory, "engine.x86_64.S", "--defsym", "CALLABLE=1");
  limitSize("pause", pause, PAUSE_LIMIT_BYTES);
  limitSize("monitor", monitor, MONITOR_LIMIT_BYTES);
  return `${HEAD}${constant("PAUSE_ELF", "PID 1 of a sandbox: a static x86-64 ELF file.", pause.bytes)}
${constant("MONITOR_ELF", "Parent of a pod's processes: a static x86-64 ELF file.", monitor.bytes)}
${constant("ENGINE_CODE", "The launch engine alone: position-independent x86-64 code.", engine.bytes)}
/** Offset in ENGINE_CODE of \`engine_run(table)\`: runs a launch table in the caller. */
export const ENGINE_RUN_OFFSET = ${offsetOf(engine, "engine_run")};

/** Offset in ENGINE_CODE of \`engine_child(table)\`: the entry for clone(2), never returns. */
export const ENGINE_CHILD_OFFSET = ${offsetOf(engine, "engine_child")};
`;
}

function aarch64Module(directory: string): string {
  const pause = assemble(AARCH64, directory, "pause.aarch64.S");
  limitSize("pause for aarch64", pause, PAUSE_LIMIT_BYTES);
  return `${HEAD}${constant("PAUSE_AARCH64_ELF", "PID 1 of a sandbox: a static aarch64 ELF file.", pause.bytes)}`;
}

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
const target = process.argv[2] ?? join(ROOT, "src/gen");
const directory = mkdtempSync(join(tmpdir(), "podrt-assemble-"));
try {
  writeFileSync(join(directory, "version.inc"), `\t.ascii\t${JSON.stringify(version)}\n`);
  writeFileSync(join(target, "machine-code.ts"), x86Module(directory));
  if (Bun.which(`${AARCH64.prefix}as`) !== null) {
    writeFileSync(join(target, "machine-code-aarch64.ts"), aarch64Module(directory));
  } else {
    console.log(`machine-code-aarch64.ts is not written: install the package ${AARCH64.debianPackage}`);
  }
} finally {
  rmSync(directory, { recursive: true });
}
