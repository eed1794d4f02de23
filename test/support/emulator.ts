// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { ARCHITECTURE, type Architecture } from "../../src/linux/architecture.ts";

const unpacked = resolve(import.meta.dir, "../../.build/packages/root");

/**
 * The words before a program for `architecture` that make this machine run it: none for its own, qemu's user emulation
 * with the C library of Debian's cross packages for another. Undefined, and said, where these are not here.
 */
export function emulatorOf(architecture: Architecture): readonly string[] | undefined {
  if (architecture === ARCHITECTURE) return [];
  const emulator = Bun.which(`qemu-${architecture}-static`);
  const libraries = ["/", unpacked]
    .map((root) => join(root, `usr/${architecture}-linux-gnu`))
    .find((directory) => existsSync(join(directory, "lib/libc.so.6")));
  if (emulator !== null && libraries !== undefined) return [emulator, "-L", libraries];
  console.log(`skipped: no program for ${architecture} runs without qemu-user-static and its C library`);
  return undefined;
}
