// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { projectDir } from "../fixtures/images/packages.ts";
import { projectDisk, resultsDisk, rootDisk, vmDir } from "./disks.ts";

const memoryMiB = 4096;
const processors = 2;

/** Where the emulator finds its parts: QEMU_MODULE_DIR. */
export const emulatorModules = join(vmDir, "qemu/usr/lib/x86_64-linux-gnu/qemu");

/**
 * The command that boots the machine: it ends when the guest powers off or panics, and leaves no file behind. The
 * kernel hands what is named here to process 1 as environment.
 */
export function emulator(
  accelerator: "tcg" | "kvm",
  environment: Readonly<Record<string, string>>,
): string[] {
  const root = join(vmDir, "qemu");
  const libraries = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/pulseaudio",
  ];
  // The emulator comes with a C library of its own, which the one of this machine need not resemble.
  const program = [
    join(root, "lib64/ld-linux-x86-64.so.2"),
    "--library-path",
    libraries.map((dir) => join(root, dir)).join(":"),
    join(root, "usr/bin/qemu-system-x86_64"),
  ];
  const kernelArguments = [
    "console=ttyS0",
    "quiet",
    "panic=-1",
    "root=/dev/nvme0n1",
    "rw",
    `init=${projectInit}`,
    "lsm=landlock,lockdown,yama,apparmor,bpf",
    ...Object.entries({ PROJECT: projectDir, ...environment }).map(([name, value]) => `${name}=${value}`),
  ];
  return [
    ...program,
    ...["-L", join(root, "usr/share/qemu"), "-L", join(root, "usr/share/seabios")],
    ...(accelerator === "kvm"
      ? ["-accel", "kvm", "-cpu", "host"]
      : ["-accel", "tcg,thread=multi", "-cpu", cpu]),
    ...["-m", String(memoryMiB), "-smp", String(processors)],
    ...["-display", "none", "-no-reboot", "-nic", "none", "-monitor", "none"],
    ...["-kernel", join(vmDir, "vmlinuz"), "-append", kernelArguments.join(" ")],
    ...["-serial", `file:${join(vmDir, "console.log")}`, "-serial", "stdio"],
    ...disk("nvme", "root", rootDisk, true),
    ...disk("virtio-blk-pci", "project", projectDisk, true),
    ...disk("virtio-blk-pci", "results", resultsDisk, false),
  ];
}

/** With 5-level paging and CMPXCHG16B emulated, Linux 6.12 faults in its allocator as it boots (qemu 7.2). */
const cpu = "max,-la57,-cx16";
const projectInit = "/sbin/podrt-init";

/**
 * A disk; with `forgets`, what is written goes to an unlinked temporary file. The root disk is the only one of its
 * kind, since the kernel numbers several in any order.
 */
function disk(device: string, id: string, file: string, forgets: boolean): string[] {
  const drive = `file=${file},if=none,id=${id},format=raw,cache=unsafe,snapshot=${forgets ? "on" : "off"}`;
  return ["-drive", drive, "-device", `${device},drive=${id},serial=${id}`];
}
