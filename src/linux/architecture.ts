// SPDX-License-Identifier: Apache-2.0
import { UnimplementedError } from "../errors.ts";

/** Machines that podrt runs on, as uname(2) and ELF name them. */
export type Architecture = "x86_64" | "aarch64";

/**
 * The machine of `processArch`, which is as `process.arch` has it. Throws Unimplemented for every other: system
 * calls, the launch engine and the monitor are there as machine code of these alone.
 */
export function architectureOf(processArch: string): Architecture {
  if (processArch === "x64") return "x86_64";
  if (processArch === "arm64") return "aarch64";
  throw new UnimplementedError(
    `podrt runs on x86-64 and aarch64, and this machine is ${processArch}: its launch engine and its monitor are machine code of those two`,
  );
}

/** What Go, images and Docker's profiles call a machine. */
export function goName(architecture: Architecture): string {
  return { x86_64: "amd64", aarch64: "arm64" }[architecture];
}

/** The machine that this process runs on: whatever differs between machines is chosen by it. */
export const ARCHITECTURE: Architecture = architectureOf(process.arch);
