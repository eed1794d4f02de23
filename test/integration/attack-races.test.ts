// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import { hostTree, importHostile, treeDigest } from "./harness/hostile.ts";
import {
  type ContainerConfig,
  containerPid,
  createContainer,
  execIn,
  runContainer,
  runSandbox,
  secured,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

/*
 * One container swaps what lies at the places where another one, which shares its volume, gets mounts, masks,
 * devices, its console and its working directory (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881). Starts may
 * fail; what they do outside of their own root is nothing, and /proc is the kernel's.
 */

const fixture = useDaemon();
const SECONDS = 10;
let sandboxId: string;
let volume: string;
let canary: string;
let given: string;
let image: string;

beforeAll(async () => {
  const { daemon } = fixture;
  [volume, canary, given] = ["volume", "canary", "given"].map((name) => join(daemon.root, name)) as [
    string,
    string,
    string,
  ];
  for (const directory of [volume, join(canary, "sub"), given, join(volume, "dev")])
    mkdirSync(directory, { recursive: true });
  writeFileSync(join(canary, "file"), "canary\n");
  writeFileSync(join(given, "mark"), "given\n");
  sandboxId = await runSandbox(daemon, "races");
  image = await importHostile(daemon, "race-volumes", { run: { Volumes: { "/vol/image-volume/x": {} } } });
});

/** Each name becomes link, directory, file and nothing, as fast as that goes; directories move away under one's feet. */
function swapper(targets: readonly string[]): string {
  const names = [
    "mount",
    "mask",
    "ro",
    "cwd",
    "device",
    "image-volume",
    "dev/null",
    "dev/pts",
    "dev/console",
    "dev/shm",
    "dev/ptmx",
  ];
  const turns = targets.map(
    (target) => `ln -sfnT ${target} $name 2>/dev/null || { rm -rf $name; ln -s ${target} $name; }`,
  );
  return `cd /vol; mkdir -p away; while :; do for name in ${names.join(" ")}; do
    ${turns.join("\n    ")}
    rm -rf $name; mkdir -p $name/x; mv $name away/d 2>/dev/null; rm -rf away/d; touch $name; rm -f $name; mkdir -p $name
  done; done`;
}

const share = (containerPath: string) => ({ containerPath, hostPath: volume }) as Mount;

/** What a container may ask for below the volume. */
function victims(): ContainerConfig[] {
  const inner = { containerPath: "/vol/mount/x", hostPath: given } as Mount;
  const file = { containerPath: "/vol/mount/file", hostPath: join(given, "mark") } as Mount;
  const device = { hostPath: "/dev/full", containerPath: "/vol/device/full", permissions: "r" };
  return [
    { mounts: [share("/vol"), inner, file] },
    { mounts: [share("/vol")], workingDir: "/vol/cwd/x" },
    { mounts: [share("/vol")], devices: [device] as never },
    { mounts: [share("/vol")], image: { image } },
    {
      mounts: [share("/vol")],
      ...secured({
        maskedPaths: ["/vol/mask", "/vol/mask/x", "/proc/kcore", "/proc/timer_list"],
        readonlyPaths: ["/vol/ro", "/vol/ro/x", "/proc/sys"],
      }),
    },
    { mounts: [{ containerPath: "/dev", hostPath: join(volume, "dev") } as Mount], tty: true },
    {
      mounts: [share("/vol"), { containerPath: "/vol/dev", hostPath: given } as Mount],
      tty: true,
      ...secured({ maskedPaths: ["/vol/dev/null"] }),
    },
  ];
}

const ofInstance = (text: string) => text.split("\n").filter((line) => line.includes(fixture.daemon.root));

test("starts that race with swapped links touch nothing of the host's", async () => {
  const { daemon } = fixture;
  const state = () => ({
    ...hostTree(),
    canary: treeDigest(canary),
    given: readFileSync(join(given, "mark"), "utf8"),
  });
  const before = state();
  const mountsBefore = ofInstance(procText("/proc/self/mountinfo"));
  const targets = [
    canary,
    `../../../../../../../..${canary}/sub`,
    "/proc/self/root",
    "/proc/1/root",
    "/",
    "/proc/sys/kernel",
    "/etc",
    "/proc/self/fd/5",
  ];
  const attackers = await Promise.all(
    [targets, targets.toReversed()].map((order, index) =>
      runContainer(daemon, sandboxId, {
        name: `swapper-${index}`,
        command: ["sh", "-c", swapper(order)],
        mounts: [share("/vol")],
      }),
    ),
  );
  const counts = { started: 0, refused: 0 };
  const configs = victims();
  const endMs = performance.now() + SECONDS * 1000;
  // A loaded machine may let one of both ends win for long.
  const isOneSided = () => counts.started === 0 || counts.refused === 0;
  const latestMs = endMs + 30_000;
  for (
    let round = 0;
    performance.now() < (isOneSided() ? latestMs : endMs) || round < configs.length;
    round++
  ) {
    const id = await createContainer(daemon, sandboxId, {
      name: `victim-${round}`,
      ...configs[round % configs.length],
    });
    const problem = await daemon.api.startContainer({ containerId: id }).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (problem === undefined) {
      counts.started++;
      const pid = await containerPid(daemon, id);
      const mounts = procText(`/proc/${pid}/mountinfo`);
      expect(mounts).not.toContain(canary);
      const proc = mounts.split("\n").filter((line) => line.split(" ")[4] === "/proc");
      expect(proc.map((line) => line.split(" - ")[1]!.split(" ")[0])).toEqual(["proc"]);
      if (configs[round % configs.length]!.linux !== undefined && mounts.includes("/proc/timer_list")) {
        const masked = await execIn(daemon, id, "cat", "/proc/timer_list", "/proc/kcore");
        expect(masked.stdout).toBe("");
      }
    } else {
      counts.refused++;
      expect(problem).toMatch(/: E[A-Z]+ \(|is not the null device|no such file|cannot make/);
    }
    await daemon.api.removeContainer({ containerId: id });
  }
  for (const id of attackers) expect((await execIn(daemon, id, "true")).code).toBe(0);
  expect(state()).toEqual(before);
  expect(ofInstance(procText("/proc/self/mountinfo"))).toEqual(mountsBefore);
  // Both ends of the race were seen: else nothing was swapped, or nothing was started.
  expect(counts.started).toBeGreaterThan(0);
  expect(counts.refused).toBeGreaterThan(0);
}, 60_000);
