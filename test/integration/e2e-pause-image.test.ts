// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NamespaceMode, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { PAUSE_ELF } from "../../src/linux/machine-code.ts";
import { startContainerd } from "../bench/peers/containerd.ts";
import { startCrio } from "../bench/peers/crio.ts";
import type { Peer } from "../bench/peers/peer.ts";
import { pluginDir, unpackedDir } from "../bench/peers/peer-daemon.ts";
import { buildDir } from "../fixtures/images/packages.ts";
import { patience } from "../support/patience.ts";
import { outputOf } from "./harness/command.ts";
import { binary, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { containerPid, createContainer, exited, runSandbox } from "./harness/pods.ts";
import { isAlive, namespaceOf, procText } from "./harness/proc.ts";

setDefaultTimeout(120_000 * patience);

const name = "registry.test/infra/pause:1";
/** A registry that does not answer: the image can come from the file alone. */
const peerOptions = { mirror: "127.0.0.1:1", registries: {}, sandboxImage: name };
const usr = (path: string) => join(unpackedDir, path);
const forContainerd = missingOf([usr("bin/containerd"), pluginDir], ["runc"]);
const forCrio = missingOf([join(buildDir, "bin/crio"), usr("bin/conmon"), pluginDir], ["runc", "skopeo"]);
let dir: string;
let archive: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "podrt-pause-image-"));
  archive = join(dir, "pause.tar");
  const said = await outputOf(binary, ["pause", "--image", archive, "--name", name]);
  expect(said).toBe(`${archive} is written: ${name} for linux/amd64 and linux/arm64, 14336 bytes\n`);
});
afterAll(() => rmSync(dir, { recursive: true }));

/** True of a process that runs the very bytes of the pause. */
const isPause = (pid: number) => readFileSync(`/proc/${pid}/exe`).equals(PAUSE_ELF);

test("podrt takes the image in, and a container of it is the pause", async () => {
  const daemon = await startDaemon();
  try {
    const imported = await daemon.podrt("import", archive);
    expect([imported.code, imported.stderr]).toEqual([0, expect.any(String)]);
    const sandboxId = await runSandbox(daemon, "holds-a-pause");
    const id = await createContainer(daemon, sandboxId, {
      name: "pause",
      image: { image: name },
      command: [],
    });
    await daemon.api.startContainer({ containerId: id });
    const pid = await containerPid(daemon, id);
    await eventually("it is the pause", () => isPause(pid));
    expect(procText(`/proc/${pid}/cmdline`)).toBe("/pause\0");
    // Before it waits for signals it is deaf to them, as any first process of a namespace.
    await eventually("it hears SIGTERM", () => /^SigBlk:\t0*[1-9a-f]/m.test(procText(`/proc/${pid}/status`)));
    await daemon.api.stopContainer({ containerId: id, timeout: 60n });
    expect(await exited(daemon, id)).toMatchObject({ exitCode: 0 });
  } finally {
    await daemon.close();
  }
});

/** Of what `make bench` and `make test` unpack and build, and of what is installed. */
function missingOf(files: readonly string[], programs: readonly string[]): string[] {
  return [
    ...files.filter((path) => !existsSync(path)),
    ...programs.filter((program) => Bun.which(program) === null),
  ];
}

/** Makes a pod of the peer's and sees that it begins with the pause, and ends. */
async function expectPauseOf({ api }: Peer): Promise<void> {
  const { image } = await eventually("the CRI knows the image", async () => {
    const answer = await api.imageStatus({ image: { image: name } });
    return answer.image === undefined ? undefined : answer;
  });
  expect(image!.repoTags).toEqual([name]);
  expect(image!.uid?.value ?? BigInt(image!.username.split(":")[0]!)).toBe(65535n);
  // CRI-O makes a pause only where processes are shared.
  const namespaceOptions = { network: NamespaceMode.NODE, pid: NamespaceMode.POD };
  const config = {
    metadata: { name: "paused", namespace: "default", uid: "uid-paused" },
    linux: { securityContext: { namespaceOptions } },
  } as const;
  const { podSandboxId } = await api.runPodSandbox({ config });
  const { status, info } = await api.podSandboxStatus({ podSandboxId, verbose: true });
  expect(status!.state).toBe(PodSandboxState.SANDBOX_READY);
  const { pid } = JSON.parse(info["info"]!) as { pid: number };
  await eventually("its process is the pause", () => isPause(pid));
  expect(namespaceOf(pid, "net")).toBe(namespaceOf("self", "net"));
  await api.stopPodSandbox({ podSandboxId });
  await eventually("its pause has ended", () => !isAlive(pid));
  await api.removePodSandbox({ podSandboxId });
}

/** CRI-O gives a pause a lower OOM score, which root without CAP_SYS_RESOURCE cannot: runc keeps that it has. */
function runcWithoutScores(): string {
  const file = join(dir, "runc");
  const script = `#!/bin/sh
previous=
score=$(cat /proc/self/oom_score_adj)
for word; do
  [ "$previous" != --bundle ] || sed -i "s/\\(oomScoreAdj.:\\) *-[0-9]*/\\1$score/" "$word/config.json"
  previous=$word
done
exec ${Bun.which("runc")} "$@"
`;
  writeFileSync(file, script, { mode: 0o755 });
  return file;
}

const skipped = (peer: string, missing: readonly string[]) =>
  missing.length > 0 && console.log(`skipped: ${peer} with podrt's pause, for want of ${missing.join(", ")}`);
skipped("containerd", forContainerd);
skipped("CRI-O", forCrio);

// containerd is unpacked only for the benchmark.
test.skipIf(forContainerd.length > 0)("containerd makes a pod with it as its sandbox image", async () => {
  const containerd = (await startContainerd("runc", peerOptions))!;
  try {
    await containerd.importImage!(archive);
    await expectPauseOf(containerd);
  } finally {
    await containerd.close();
  }
});

// CRI-O is built only for the benchmark.
test.skipIf(forCrio.length > 0)("CRI-O makes a pod with it as its pause image", async () => {
  const crio = (await startCrio(peerOptions, runcWithoutScores()))!;
  try {
    const storage = `[overlay@${join(crio.dir, "root")}+${join(crio.dir, "run")}]`;
    const places = [`oci-archive:${archive}`, `containers-storage:${storage}${name}`];
    await outputOf("skopeo", ["--insecure-policy", "copy", ...places]);
    await expectPauseOf(crio);
  } finally {
    await crio.close();
  }
});
