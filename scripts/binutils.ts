// SPDX-License-Identifier: Apache-2.0

/** The binutils of one architecture, and what goes by its name. */
export interface Binutils {
  /** As texts have it, and the generated file. */
  readonly name: string;
  /** What its sources in pause/ are called by. */
  readonly sourceSuffix: string;
  /** What the names of its tools begin with on this machine. */
  readonly prefix: string;
  readonly debianPackage: string;
  /** What as needs to be told. */
  readonly options: readonly string[];
}

/** The binutils of every architecture that machine code is made for; those of the machine itself have no prefix. */
export const BINUTILS: readonly Binutils[] = [
  { name: "x86-64", sourceSuffix: "x86_64", ...toolsOf("x64", "x86-64-linux-gnu"), options: ["--64"] },
  { name: "aarch64", sourceSuffix: "aarch64", ...toolsOf("arm64", "aarch64-linux-gnu"), options: [] },
];

/** Where src/gen has what is assembled for it. */
export function generatedFile({ name }: Binutils): string {
  return `machine-code/${name}.ts`;
}

export function isInstalled({ prefix }: Binutils): boolean {
  return Bun.which(`${prefix}as`) !== null;
}

/** Of the machine that `process.arch` calls `processArch`; `triplet` is what Debian names packages by. */
function toolsOf(processArch: string, triplet: string): Pick<Binutils, "prefix" | "debianPackage"> {
  if (process.arch === processArch) return { prefix: "", debianPackage: "binutils" };
  return { prefix: `${triplet.replace("x86-64", "x86_64")}-`, debianPackage: `binutils-${triplet}` };
}
