// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { Mount } from "../../src/gen/runtime/v1/api_pb.ts";
import type { TarMember } from "../fixtures/tar-writer.ts";
import { useDaemon } from "./harness/fixture.ts";
import { hostTree, importHostile, treeDigest } from "./harness/hostile.ts";
import { containerPid, createContainer, runSandbox } from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";
import { createMapped, runMappedSandbox } from "./harness/user-namespace.ts";

/*
 * Whatever links an image has at the places where a container gets mounts, devices, volumes and its working
 * directory (CVE-2019-19921, CVE-2023-27561, CVE-2024-45310): what is made for them is made inside, or the start
 * fails. Links lead to a canary on the host by absolute, climbing and magic ways.
 */

const fixture = useDaemon();
const SEED = 20_260_105;
const RUNS = 24;
const RUNS_MAPPED = 6;
let canary: string;
let given: string;
let pod: string;
let mappedPod: string;
let counter = 0;

beforeAll(async () => {
  canary = join(fixture.daemon.root, "canary");
  mkdirSync(join(canary, "directory/below"), { recursive: true });
  writeFileSync(join(canary, "file"), "canary\n");
  given = join(fixture.daemon.root, "given");
  mkdirSync(given);
  writeFileSync(join(given, "here"), "given\n");
  pod = await runSandbox(fixture.daemon, "outside");
  mappedPod = await runMappedSandbox(fixture.daemon, "outside-mapped");
});

/** Where containers get something, and the ways there. */
const PLACES = [
  ...[
    "etc",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "dev",
    "dev/shm",
    "dev/pts",
    "proc",
    "sys",
    "run",
  ],
  ...["vol", "vol/a", "vol/a/b", "data", "work", "work/x", "tmp"],
];

const targets = () => [
  ...[canary, `${canary}/directory`, `${canary}/new/er`, "/", "..", ".", "../..", "/etc", "/vol", "/data/x"],
  ...[
    "/proc/self/root",
    "/proc/1/root",
    "/proc/self/cwd",
    "/proc/self/fd/3",
    "/proc/sys/kernel",
    "/dev",
    "vol",
  ],
  `../../../../../../..${canary}`,
  `/proc/1/root${canary}/directory`,
];

const linksIn = () =>
  fc.array(
    fc.record({
      name: fc.constantFrom(...PLACES),
      type: fc.constantFrom("2", "2", "2", "5", "0"),
      linkName: fc.constantFrom(...targets()),
    }),
    { minLength: 1, maxLength: 7 },
  );

const requests = () =>
  fc.record({
    links: linksIn(),
    destinations: fc.uniqueArray(
      fc.constantFrom("/vol", "/vol/a/b", "/data", "/etc/x", "/dev/extra", "/run/y"),
      { maxLength: 3 },
    ),
    workingDir: fc.constantFrom("", "/work", "/work/x/y", "/vol/a", "/data"),
    volumes: fc.subarray(["/vol", "/data/v", "/run/v", "/../up"]),
    device: fc.constantFrom("", "/dev/mine", "/vol/mine", "/data/d/mine"),
    subPath: fc.constantFrom("vol", "vol/a", "work", "etc", "data"),
    isTerminal: fc.boolean(),
  });
type Request = ReturnType<typeof requests> extends fc.Arbitrary<infer T> ? T : never;

/** Parents that are links or files are cleared away, since a layer whose entry lies below one is refused or moved. */
function layerOf({ links }: Request): TarMember[] {
  const replaced = new Map<string, TarMember>();
  for (const { name, type, linkName } of links) {
    replaced.set(name, {
      name: type === "5" ? `${name}/` : name,
      type,
      linkName: type === "2" ? linkName : "",
    });
  }
  const names = [...replaced.keys()];
  const isBelow = (name: string) =>
    names.some((other) => name.startsWith(`${other}/`) && replaced.get(other)!.type !== "5");
  return [...replaced].filter(([name]) => !isBelow(name)).map(([, member]) => member);
}

async function attempt(request: Request, isMapped: boolean): Promise<void> {
  const { daemon } = fixture;
  const name = `outside-${counter++}`;
  const run = { Volumes: Object.fromEntries(request.volumes.map((volume) => [volume, {}])) };
  const image = await importHostile(daemon, name, { layers: [layerOf(request)], run });
  const config = {
    name,
    image: { image },
    workingDir: request.workingDir,
    tty: request.isTerminal,
    mounts: request.destinations.map((containerPath) => ({ containerPath, hostPath: given }) as Mount),
    ...(request.device === ""
      ? {}
      : { devices: [{ hostPath: "/dev/full", containerPath: request.device, permissions: "r" }] as never }),
  };
  const create = (mounts: Mount[]) => {
    const whole = { ...config, mounts };
    return isMapped ? createMapped(daemon, mappedPod, whole) : createContainer(daemon, pod, whole);
  };
  const part = { containerPath: "/image", image: { image }, imageSubPath: request.subPath, readonly: true };
  const id = await create([...config.mounts, part as Mount]).catch((error: Error) => {
    expect(error.message).toContain("image_sub_path");
    return create(config.mounts);
  });
  const problem = await daemon.api.startContainer({ containerId: id }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (problem === undefined) {
    // The canary is on no mount of the container, and not below any.
    const mounts = procText(`/proc/${await containerPid(daemon, id)}/mountinfo`);
    expect(mounts).not.toContain(canary);
  } else {
    expect(problem).toMatch(/: E(LOOP|NOTDIR|XDEV|INVAL|NOENT|PERM|ISDIR|ACCES|EXIST|ROFS|BUSY)/);
  }
  await daemon.api.removeContainer({ containerId: id });
}

test.each([
  ["in the host's user namespace", RUNS, false],
  ["in one of the pod's", RUNS_MAPPED, true],
])(
  "random trees of links make nothing outside, %s",
  async (_, numRuns, isMapped) => {
    const state = () => ({ ...hostTree(), canary: treeDigest(canary) });
    const before = state();
    const mountsBefore = procText("/proc/self/mountinfo")
      .split("\n")
      .filter((line) => line.includes(fixture.daemon.root));
    await fc.assert(
      fc.asyncProperty(requests(), async (request) => {
        await attempt(request, isMapped);
      }),
      { seed: SEED, numRuns, endOnFailure: true },
    );
    expect(state()).toEqual(before);
    const mounts = procText("/proc/self/mountinfo")
      .split("\n")
      .filter((line) => line.includes(fixture.daemon.root));
    expect(mounts).toEqual(mountsBefore);
  },
  120_000,
);
