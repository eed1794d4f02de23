// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { isV2 } from "./cgroup-files.ts";
import { binary } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import { isAlive, procText } from "./proc.ts";

/** A machine, to podrt, with nothing but cgroup v2: what is its root there is a cgroup of the test's own here. */
export interface CgroupV2View extends AsyncDisposable {
  /** The directory of that root, as this process sees it. */
  readonly directory: string;
  /** podrt in that view, at every start in the same mounts. */
  readonly program: string;
}

/** Hybrid machines have the cgroup2 hierarchy without the controllers; for lifecycles that is enough. */
export async function cgroupV2View(): Promise<CgroupV2View> {
  const scratch = mkdtempSync(join(tmpdir(), "prt-v2-"));
  const directory = join(isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified", basename(scratch));
  mkdirSync(join(directory, "daemon"), { recursive: true });
  const ready = join(scratch, "ready");
  const holder = spawn("sh", [
    "-c",
    `echo $$ >${directory}/cgroup.procs && exec unshare --mount --cgroup --propagation private sh -c '
       echo $$ >${directory}/daemon/cgroup.procs && umount -l /sys/fs/cgroup &&
       mount -t cgroup2 cgroup2 /sys/fs/cgroup && touch ${ready} && exec sleep 1000000'`,
  ]);
  await eventually("the view is made", () => readdirSync(scratch).includes("ready"));
  const program = join(scratch, "podrt");
  writeFileSync(
    program,
    `#!/bin/sh\necho $$ >${directory}/daemon/cgroup.procs\nexec nsenter -t ${holder.pid} -m -C ${binary} "$@"\n`,
  );
  chmodSync(program, 0o755);
  return {
    directory,
    program,
    async [Symbol.asyncDispose]() {
      await endAll(holder, directory);
      removeGroups(directory);
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

async function endAll(holder: ChildProcess, directory: string): Promise<void> {
  const ended = new Promise((resolve) => holder.once("exit", resolve));
  holder.kill("SIGKILL");
  await ended;
  for (const pid of processesBelow(directory)) process.kill(pid, "SIGKILL");
  await eventually("nothing is in the view", () => processesBelow(directory).every((pid) => !isAlive(pid)));
}

function processesBelow(directory: string): number[] {
  return [directory, ...groupsBelow(directory)].flatMap((one) =>
    procText(join(one, "cgroup.procs")).split("\n").map(Number).filter(Boolean),
  );
}

function groupsBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? [...groupsBelow(path), path] : [];
  });
}

/** Removes a cgroup with all below it. */
export function removeGroups(directory: string): void {
  for (const path of [...groupsBelow(directory), directory]) rmdirSync(path);
}
