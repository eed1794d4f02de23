// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { copiedCgroups } from "../../container/cgroup-mounts.ts";
import type { Runtime } from "../../container/runtime.ts";
import { identityOf } from "../../container/security/identity.ts";
import { heldCount } from "../../container/stdio.ts";
import { availableCapabilities, podIdMappings, rootMountPoint } from "../../container/user-namespace.ts";
import type { ContainerConfig, PodSandboxConfig } from "../../gen/runtime/v1/api_pb.ts";
import { containerProgram } from "../../launch/container-program.ts";
import type { ListedFds } from "../../launch/listed-fds.ts";
import { MONITOR_FD } from "../../launch/monitor.ts";
import { type ListedProgramTable, listProgram } from "../../launch/program-listing.ts";
import { O_PATH } from "../../linux/abi/fcntl.ts";
import { openCgroup } from "../../linux/cgroup/cgroup.ts";
import { type Fd, open } from "../../linux/fd.ts";
import type { RuntimeMount, RuntimeSpec } from "../../oci/runtime-spec.ts";
import { listedPlace } from "./cgroup-plan.ts";

const CONTAINER_TAG = 2;

/** What one container's launch program is compiled from. */
export interface Launched {
  readonly sandbox: PodSandboxConfig;
  readonly config: ContainerConfig;
  readonly spec: RuntimeSpec;
  readonly path: string;
  /** Sources of mounts that will be files. */
  readonly files: ReadonlySet<string>;
}

/** The launch program of a container that is not made: its descriptors stand for what would be. */
export function containerListing(
  runtime: Runtime,
  launched: Launched,
  passed: ListedFds,
): ListedProgramTable[] {
  const { sandbox, config, spec, path, files } = launched;
  const mappings = podIdMappings(sandbox);
  const { tty: terminal, stdin } = config;
  const stdio = (what: string) => passed.standIn(terminal ? "the terminal" : what);
  const pid = spec.linux.namespaces.find(({ type }) => type === "pid");
  const name = config.metadata?.name ?? "";
  const program = containerProgram(
    {
      label: `container ${name}`,
      tag: CONTAINER_TAG,
      spec,
      identity: identityOf(spec, config.linux?.securityContext, runtime.securityModules),
      existingCapabilities: availableCapabilities(runtime, mappings),
      root: passed.standIn("the container's root", "directory"),
      pause: passed.standIn("the pause"),
      isPauseBare: runtime.config.image.sandbox_image === undefined,
      pidNamespace: pid?.path === undefined ? undefined : passed.standIn("the pause"),
      newPidNamespace: pid !== undefined && pid.path === undefined,
      cgroup: listedPlace(runtime, path, passed),
      privateCgroupNamespace: spec.linux.namespaces.some(({ type }) => type === "cgroup"),
      devices: mappings && passed.standIn("the file system for /dev", "directory"),
      stdio: {
        terminal,
        child: [stdio("stdin"), stdio("stdout"), stdio("stderr")],
        held: Array.from({ length: heldCount({ tty: terminal, stdin }) }, () =>
          passed.standIn("stdio, for a later daemon"),
        ),
        heldFd: MONITOR_FD.held,
        devpts: terminal ? passed.standIn("the terminal's file system", "directory") : undefined,
      },
      imageVolumes: new Map(
        spec.mounts
          .filter(({ type }) => type === "overlay")
          .map((mount) => [
            mount,
            { root: passed.standIn(`image ${mount.source}`, "directory"), subPath: "" },
          ]),
      ),
      cgroupMounts: new Map(
        [...copiedCgroups(spec, openCgroup(runtime.cgroups, path))].map(([mount, directory]) => [
          mount,
          passed.standIn(`a copy of the mount at ${directory}`, "directory"),
        ]),
      ),
      rootMountPoint: rootMountPoint(runtime, mappings),
      openSource: (mount) => sourceOf(mount, files, passed),
    },
    passed,
  );
  return listProgram(program, passed.descriptors);
}

const FILES_OF_POD = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/** What is there is looked at; what is not stands for what will be made. */
function sourceOf({ source, destination }: RuntimeMount, files: ReadonlySet<string>, passed: ListedFds): Fd {
  const what = `a copy of the mount at ${source}`;
  if (existsSync(source)) return passed.named(open(source, O_PATH), what);
  const isFile =
    files.has(source) || (FILES_OF_POD.includes(destination) && basename(source) === basename(destination));
  return passed.standIn(what, isFile ? "file" : "directory");
}
