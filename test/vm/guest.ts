// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { ARCHITECTURE, type Architecture } from "../../src/linux/architecture.ts";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";

/** A machine that can be emulated: what of its description, its programs and its kernel goes by the architecture. */
export interface Guest {
  readonly architecture: Architecture;
  /** The program among those of the emulator. */
  readonly emulator: string;
  /** The board and, without an accelerator, the processor. */
  readonly board: readonly string[];
  readonly processor: string;
  /** Directories of the emulator's package with firmware. */
  readonly firmware: readonly string[];
  /** The kernel's names of the first and the second serial port. */
  readonly serialPorts: readonly [string, string];
}

const guests: readonly Guest[] = [
  {
    architecture: "x86_64",
    emulator: "qemu-system-x86_64",
    board: [],
    // With 5-level paging and CMPXCHG16B emulated, Linux 6.12 faults in its allocator as it boots (qemu 7.2).
    processor: "max,-la57,-cx16",
    firmware: ["qemu", "seabios"],
    serialPorts: ["ttyS0", "ttyS1"],
  },
  {
    architecture: "aarch64",
    emulator: "qemu-system-aarch64",
    board: ["-machine", "virt"],
    // That of many servers. It has atomic instructions, and no pointer authentication, which is slow to emulate.
    processor: "neoverse-n1",
    firmware: ["qemu"],
    serialPorts: ["ttyAMA0", "ttyAMA1"],
  },
];

/** The machine to emulate: ARCH, or one like this machine. */
export const guest: Guest = guestOf(process.env["ARCH"] || ARCHITECTURE);

/** Whether programs of this machine run there, and there is an accelerator. */
export const isOwn = guest.architecture === ARCHITECTURE;

/** What is appended to the names of what is made for a machine that is not this one. */
const suffix = isOwn ? "" : `-${guest.architecture}`;

/** Where the machine and its disks are made. */
export const vmDir = join(buildDir, `vm${suffix}`);

/** The podrt that runs there. */
export const podrt = join(projectDir, `dist/podrt${suffix}`);

/** Where programs written in Go are built for it, and the busybox of the images of the validation suite. */
export const goPrograms = join(buildDir, `bin${suffix}`);
export const busyboxDir = join(buildDir, `busybox${suffix}`);

/** The machine of `architecture`, which is as uname(2) has it; an Error that names all for one that is not there. */
export function guestOf(architecture: string): Guest {
  const found = guests.find((each) => each.architecture === architecture);
  if (found !== undefined) return found;
  const names = guests.map((each) => each.architecture).join(" and ");
  throw new Error(`ARCH=${architecture}: there is no such virtual machine; there are ${names}`);
}
