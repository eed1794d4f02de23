// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UnavailableError } from "../../errors.ts";
import type { LaunchStdio } from "../../launch/container-program.ts";
import type { OpenImageVolume } from "../../launch/image-volume.ts";
import { makeLinkTarget } from "../../launch/mount-point.ts";
import type { HeldStdio } from "../../launch/oci-program.ts";
import { newPassedFds, type PassedFds } from "../../launch/passed-fds.ts";
import { O_DIRECTORY, O_PATH, O_RDWR } from "../../linux/abi/fcntl.ts";
import { type Fd, open } from "../../linux/fd.ts";
import { acceptUnix, listenUnix, receiveFds } from "../../linux/unix-socket.ts";
import type { RuntimeMount, RuntimeSpec } from "../../oci/runtime-spec.ts";
import { adoptProcess } from "../adopt.ts";
import { openImageVolumes } from "../image-volume.ts";
import { FILES_OF_POD, type Start, type Started, takeRoot } from "../launch.ts";
import { capabilitySet } from "../process-spec.ts";
import { containerConfig, specOf } from "../records.ts";
import { seccompChoice, seccompProfile } from "../security/seccomp.ts";
import { adoptTerminal, logPlace, newStdio, startPumps } from "../stdio.ts";
import { stdioOwner } from "../user-namespace.ts";
import { bundleConfig } from "./bundle.ts";
import { completeOci, hybridPlace, type OciContainer, runOci } from "./command.ts";
import { bundleOf, type OciHandler } from "./handler.ts";

/** In the bundle; a runtime is told of it by this relative name, since a socket's whole path may be too long. */
const CONSOLE_SOCKET = "console.sock";
const PID_FILE = "pid";

/**
 * Makes a container by an OCI runtime and starts it. Between the two the monitor's journal gets the start record,
 * so that an exit finds it there however soon it comes.
 */
export async function launchByOci(start: Start, handler: OciHandler): Promise<Started> {
  const { runtime, monitor, record, live } = start;
  const config = containerConfig(record);
  const container: OciContainer = { runtime, monitor, record, handler };
  const bundle = bundleOf(runtime, record);
  rmSync(bundle, { recursive: true, force: true });
  mkdirSync(bundle, { recursive: true, mode: 0o700 });
  const request = { tty: config.tty, stdin: config.stdin };
  if (config.tty) {
    using directory = open(bundle, O_PATH | O_DIRECTORY);
    using socket = listenUnix(`/proc/self/fd/${directory.number}/${CONSOLE_SOCKET}`);
    await create(container, start, undefined);
    using connection = acceptUnix(socket.number);
    const [master] = receiveFds(connection.number, 1);
    if (master === undefined)
      throw new UnavailableError(`${handler.path} sent no terminal for container ${record.id}`);
    const { launch, daemon } = adoptTerminal(master, request, record.heldFd);
    startPumps(live, daemon, logPlace(runtime, record), true);
    return finish(container, bundle, launch);
  }
  const stdio = newStdio(request, record.heldFd, stdioOwner(specOf(record)));
  startPumps(live, stdio.daemon, logPlace(runtime, record), false);
  await create(container, start, stdio.launch);
  return finish(container, bundle, undefined);
}

async function create(
  container: OciContainer,
  { live }: Start,
  stdio: LaunchStdio | undefined,
): Promise<void> {
  const { runtime, record } = container;
  const spec = specOf(record);
  using passed = newPassedFds();
  for (const fd of [...(stdio?.child ?? []), ...(stdio?.held ?? [])]) passed.own(fd);
  const bundle = bundleOf(runtime, record);
  const root = passed.own(takeRoot(runtime, record, live, undefined));
  for (const path of FILES_OF_POD) makeLinkTarget(root, path, undefined);
  const volumes = namedVolumes(openImageVolumes(runtime, spec, passed));
  const stage = runtime.paths.rootMountPoint;
  const places = { stage, root, volumes: new Map(volumes.map(({ mount, name }) => [mount, name])) };
  writeFileSync(
    join(bundle, "config.json"),
    JSON.stringify(bundleConfig(spec, seccompOf(container), places)),
    {
      mode: 0o600,
    },
  );
  const words = ["create", "--bundle", bundle, "--pid-file", join(bundle, PID_FILE)];
  const console = stdio === undefined ? ["--console-socket", CONSOLE_SOCKET] : [];
  await completeOci(
    container,
    [...words, ...console, record.id],
    {
      stdio: stdio?.child ?? nothing(passed),
      cgroup: hybridPlace(runtime, record, passed),
      creates: {
        root,
        volumes: new Map(volumes.map(({ name, volume }) => [name, volume])),
        held: stdio,
      },
    },
    passed,
  );
}

function nothing(passed: PassedFds): readonly [Fd, Fd, Fd] {
  const opened = () => passed.own(open("/dev/null", O_RDWR));
  return [opened(), opened(), opened()];
}

function namedVolumes(volumes: ReadonlyMap<RuntimeMount, OpenImageVolume>) {
  return [...volumes].map(([mount, volume], index) => ({ mount, volume, name: `volume${index}` }));
}

function seccompOf({ record }: OciContainer) {
  const spec: RuntimeSpec = specOf(record);
  const choice = seccompChoice(containerConfig(record).linux?.securityContext);
  return seccompProfile(choice, spec.linux.seccomp, capabilitySet(spec.process.capabilities.bounding));
}

/** Notes the process that stands ready, gives the monitor what it is to hold of a terminal, and lets it run. */
async function finish(
  container: OciContainer,
  bundle: string,
  held: HeldStdio | undefined,
): Promise<Started> {
  const pid = Number(readFileSync(join(bundle, PID_FILE), "utf8"));
  const process = await adoptProcess(container.monitor, container.record, pid, held);
  await runOci(container, "start", container.record.id);
  return { process };
}
