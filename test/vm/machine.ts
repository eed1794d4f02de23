// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { projectDir } from "../fixtures/images/packages.ts";
import { projectDisk, resultsDisk, rootDisk } from "./disks.ts";
import { guest, vmDir } from "./guest.ts";

const memoryMiB = 4096;
const processors = 2;

/** The emulator is a program of this machine; these are Debian's names of where its libraries are. */
const { triplet, loader } =
  process.arch === "arm64"
    ? { triplet: "aarch64-linux-gnu", loader: "lib/ld-linux-aarch64.so.1" }
    : { triplet: "x86_64-linux-gnu", loader: "lib64/ld-linux-x86-64.so.2" };

/** Where the emulator finds its parts: QEMU_MODULE_DIR. */
export const emulatorModules = join(vmDir, `qemu/usr/lib/${triplet}/qemu`);

/**
 * The command that boots the machine: it ends when the guest powers off or panics, and leaves no file behind. The
 * kernel hands what is named here to process 1 as environment.
 */
export function emulator(
  accelerator: "tcg" | "kvm",
  environment: Readonly<Record<string, string>>,
): string[] {
  const root = join(vmDir, "qemu");
  const libraries = [`lib/${triplet}`, `usr/lib/${triplet}`, `usr/lib/${triplet}/pulseaudio`];
  // The emulator comes with a C library of its own, which the one of this machine need not resemble.
  const program = [
    join(root, loader),
    "--library-path",
    libraries.map((dir) => join(root, dir)).join(":"),
    join(root, "usr/bin", guest.emulator),
  ];
  const [console, output] = guest.serialPorts;
  const kernelArguments = [
    `console=${console}`,
    "quiet",
    "panic=-1",
    "root=/dev/nvme0n1",
    "rw",
    `init=${projectInit}`,
    "lsm=landlock,lockdown,yama,apparmor,bpf",
    ...Object.entries({ PROJECT: projectDir, OUTPUT: `/dev/${output}`, ...environment }).map(
      ([name, value]) => `${name}=${value}`,
    ),
  ];
  return [
    ...program,
    ...guest.firmware.flatMap((name) => ["-L", join(root, "usr/share", name)]),
    ...guest.board,
    ...(accelerator === "kvm"
      ? ["-accel", "kvm", "-cpu", "host"]
      : ["-accel", "tcg,thread=multi", "-cpu", guest.processor]),
    ...["-m", String(memoryMiB), "-smp", String(processors)],
    ...["-display", "none", "-no-reboot", "-nic", "none", "-monitor", "none"],
    ...["-kernel", join(vmDir, "vmlinuz"), "-append", kernelArguments.join(" ")],
    ...["-serial", `file:${join(vmDir, "console.log")}`, "-serial", "stdio"],
    ...disk("nvme", "root", rootDisk, true),
    ...disk("virtio-blk-pci", "project", projectDisk, true),
    ...disk("virtio-blk-pci", "results", resultsDisk, false),
  ];
}

const projectInit = "/sbin/podrt-init";

/**
 * A disk; with `forgets`, what is written goes to an unlinked temporary file. The root disk is the only one of its
 * kind, since the kernel numbers several in any order.
 */
function disk(device: string, id: string, file: string, forgets: boolean): string[] {
  const drive = `file=${file},if=none,id=${id},format=raw,cache=unsafe,snapshot=${forgets ? "on" : "off"}`;
  return ["-drive", drive, "-device", `${device},drive=${id},serial=${id}`];
}
