// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_DIRECTORY, O_RDONLY } from "../../../src/linux/abi/fcntl.ts";
import { open } from "../../../src/linux/fd.ts";
import { syscall } from "../../../src/linux/syscall.ts";
import { outputOf, runCommand } from "./command.ts";
import { eventually } from "./eventually.ts";

// EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and EXT4_GOING_FLAGS_NOLOGFLUSH of fs/ext4/ext4.h.
const EXT4_IOC_SHUTDOWN = 0x8004587d;
const EXT4_GOING_FLAGS_NOLOGFLUSH = 2;

/** A disk of its own: ext4 in a file, on a loop device. */
export interface OwnDisk extends AsyncDisposable {
  /** Empty at first. */
  readonly directory: string;
  /** Writes everything that is not on the disk yet. */
  flush(): Promise<void>;
  /**
   * From now on nothing reaches the disk: neither what is in memory only nor what is written later. What has
   * not been synced is lost, as when the power goes.
   */
  cutPower(): void;
  /** Mounts it again, by which ext4 replays its journal. */
  powerOn(): Promise<void>;
}

/** Whether the machine has what it takes: loop devices and mkfs.ext4. */
export async function canMakeDisks(): Promise<boolean> {
  const { code } = await runCommand("sh", ["-c", "command -v mkfs.ext4 && losetup --find"]);
  return code === 0;
}

export async function newDisk(sizeMib: number): Promise<OwnDisk> {
  const home = mkdtempSync(join(tmpdir(), "pdk-"));
  const mountPoint = join(home, "m");
  let starts = 0;
  let image = join(home, "image0");
  const directory = join(mountPoint, "r");
  // Nothing is written behind the tests' back: the journal otherwise commits every five seconds.
  const mount = () => outputOf("mount", ["-o", "loop,commit=900", image, mountPoint]);
  const unmount = () =>
    eventually("the disk can be unmounted", async () => {
      const { code, stderr } = await runCommand("umount", [mountPoint]);
      if (code !== 0) throw new Error(stderr);
      return true;
    });
  mkdirSync(mountPoint);
  await outputOf("truncate", ["-s", `${sizeMib}M`, image]);
  await outputOf("mkfs.ext4", ["-q", "-F", image]);
  await mount();
  mkdirSync(directory);
  return {
    directory,
    flush: async () => void (await outputOf("sync", ["-f", directory])),
    cutPower() {
      using top = open(mountPoint, O_RDONLY | O_DIRECTORY);
      const flags = new Uint8Array(Uint32Array.of(EXT4_GOING_FLAGS_NOLOGFLUSH).buffer);
      syscall("ioctl", top.number, EXT4_IOC_SHUTDOWN, flags);
    },
    async powerOn() {
      await unmount();
      // A copy of what is on the disk: another process of the machine may see the former mount for a while longer.
      const former = image;
      image = join(home, `image${++starts}`);
      await outputOf("cp", ["--sparse=always", former, image]);
      rmSync(former);
      await mount();
    },
    async [Symbol.asyncDispose]() {
      await unmount();
      rmSync(home, { recursive: true });
    },
  };
}
