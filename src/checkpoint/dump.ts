// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ownsPidNamespace } from "../container/exit.ts";
import { hasOciHandler } from "../container/oci/handler.ts";
import { containerConfig, specOf } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { FailedPreconditionError, UnimplementedError } from "../errors.ts";
import { O_RDWR } from "../linux/abi/fcntl.ts";
import { CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS } from "../linux/abi/sched.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { open } from "../linux/fd.ts";
import { statFd } from "../linux/path.ts";
import { openPidfd } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { isExternal, mountsOfProcess } from "./container-mounts.ts";
import { criuError, runCriu } from "./criu-run.ts";

/** A deleted file that is still open goes into the images up to this size. */
const GHOST_LIMIT = "64M";
const COLLECT_TIMEOUT_S = 30;

/** What of a container's stdio the images name, as criu's `--inherit-fd` wants it; absent where it is closed. */
export interface DumpedStdio {
  readonly stdin?: string;
  readonly stdout?: string;
  readonly stderr?: string;
}

/** Throws for a container whose processes criu could dump, but that could not be restored from it. */
export function checkDumpable(runtime: Runtime, record: ContainerRecord): void {
  const refuse = (what: string) => {
    throw new UnimplementedError(
      `container ${record.id} cannot be checkpointed: ${what}, which podrt does not support`,
    );
  };
  if (containerState(record) !== "running") {
    throw new FailedPreconditionError(
      `container ${record.id} cannot be checkpointed: it is ${containerState(record)}, not running`,
    );
  }
  if (hasOciHandler(runtime, record)) refuse("its pod has another runtime handler than podrt's");
  if (containerConfig(record).tty) refuse("it has a terminal (config.tty)");
  if (!ownsPidNamespace(record)) {
    refuse("it shares a process namespace (config.linux.security_context.namespace_options.pid)");
  }
  if (specOf(record).linux.namespaces.some(({ type }) => type === "user")) {
    refuse("its pod has a user namespace (userns_options)");
  }
}

/**
 * Writes the processes of a running container, which is frozen, to `imagesDir`. Afterwards they are as they
 * were, frozen, whatever came of it.
 */
export async function dumpContainer(
  runtime: Runtime,
  record: ContainerRecord,
  criu: {
    readonly program: string;
    readonly workDir: string;
    readonly imagesDir: string;
    readonly signal: AbortSignal;
  },
): Promise<DumpedStdio> {
  const pid = record.process?.pid ?? 0;
  mkdirSync(criu.imagesDir, { mode: 0o700 });
  using pidfd = openPidfd(pid);
  const namespaces = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  const isPrivate = specOf(record).linux.namespaces.some(({ type }) => type === "cgroup");
  const mounts = mountsOfProcess(pid);
  const root = mounts.find(({ mountPoint }) => mountPoint === "/");
  const external = mounts.filter((mount) => isExternal(mount, root));
  const stdio = stdioOf(runtime, record);
  const files = stdio.stdin?.startsWith("file[") === true ? ["--external", stdio.stdin] : [];
  const status = await runCriu({
    program: criu.program,
    arguments: [
      "dump",
      ...["--tree", String(pid), "--leave-running"],
      ...["--images-dir", criu.imagesDir, "--work-dir", criu.workDir, "--log-file", "dump.log", "-v2"],
      ...["--root", `/proc/${pid}/root`, "--manage-cgroups=ignore"],
      ...["--freeze-cgroup", openCgroup(runtime.cgroups, record.cgroupPath).freezerDirectory()],
      ...["--timeout", String(COLLECT_TIMEOUT_S), "--ghost-limit", GHOST_LIMIT],
      ...["--file-locks", "--tcp-close", "--no-default-config"],
      ...external.flatMap(({ mountPoint }) => ["--external", `mnt[${mountPoint}]:${mountPoint}`]),
      ...files,
    ],
    workDir: criu.workDir,
    join: [{ of: pidfd, flags: isPrivate ? namespaces | CLONE_NEWCGROUP : namespaces }],
    signal: criu.signal,
  });
  if (status === 0) return stdio;
  throw new FailedPreconditionError(
    `container ${record.id} cannot be checkpointed: criu says: ${criuError(join(criu.workDir, "output"), join(criu.workDir, "dump.log"))}`,
  );
}

/** Pipes by their inodes; the null device by its mount too, since it is none of the container's. */
function stdioOf(runtime: Runtime, record: ContainerRecord): DumpedStdio {
  const live = runtime.live.get(record.id);
  const [stdout, , stderr] = live?.outputs ?? [];
  const pipe = (fd: { readonly number: number }) => `pipe:[${statFd(fd.number).ino}]`;
  return {
    stdin: live?.stdin === undefined ? nullDevice() : pipe(live.stdin),
    ...(stdout === undefined ? {} : { stdout: pipe(stdout) }),
    ...(stderr === undefined ? {} : { stderr: pipe(stderr) }),
  };
}

function nullDevice(): string {
  using device = open("/dev/null", O_RDWR);
  const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${device.number}`, "utf8"))?.[1];
  return `file[${Number(mount).toString(16)}:${statFd(device.number).ino.toString(16)}]`;
}
