// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PAUSE_ELF } from "../../src/gen/machine-code.ts";
import { NamespaceMode, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { startContainerd } from "../bench/peers/containerd.ts";
import { pluginDir, unpackedDir } from "../bench/peers/peer-daemon.ts";
import { patience } from "../support/patience.ts";
import { outputOf } from "./harness/command.ts";
import { binary, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { containerPid, createContainer, exited, runSandbox } from "./harness/pods.ts";
import { isAlive, procText } from "./harness/proc.ts";

setDefaultTimeout(120_000 * patience);

const name = "registry.test/infra/pause:1";
/** What makes a pod of containerd's; unpacked by `make bench` and `make test`. */
const needed = [join(unpackedDir, "bin/containerd"), pluginDir];
const missing = [
  ...needed.filter((path) => !existsSync(path)),
  ...(Bun.which("runc") === null ? ["runc"] : []),
];
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
    await daemon.api.stopContainer({ containerId: id, timeout: 60n });
    expect(await exited(daemon, id)).toMatchObject({ exitCode: 0 });
  } finally {
    await daemon.close();
  }
});

if (missing.length > 0)
  console.log(
    `skipped: containerd with the pause of podrt, for want of ${missing.join(", ")} (make bench gets them)`,
  );

// containerd is unpacked only for the benchmark.
test.skipIf(missing.length > 0)("containerd makes a pod with it as its sandbox image", async () => {
  // A registry that does not answer: the image can come from the file alone.
  const options = { mirror: "127.0.0.1:1", registries: {}, sandboxImage: name };
  const containerd = (await startContainerd("runc", options))!;
  try {
    await containerd.importImage!(archive);
    const { image } = await eventually("the CRI knows the image", async () => {
      const answer = await containerd.api.imageStatus({ image: { image: name } });
      return answer.image === undefined ? undefined : answer;
    });
    expect(image!.repoTags).toEqual([name]);
    expect(image!.uid?.value ?? BigInt(image!.username.split(":")[0]!)).toBe(65535n);
    const config = {
      metadata: { name: "paused", namespace: "default", uid: "uid-paused" },
      linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
    } as const;
    const { podSandboxId } = await containerd.api.runPodSandbox({ config });
    const { status, info } = await containerd.api.podSandboxStatus({ podSandboxId, verbose: true });
    expect(status!.state).toBe(PodSandboxState.SANDBOX_READY);
    const { pid } = JSON.parse(info["info"]!) as { pid: number };
    await eventually("its process is the pause", () => isPause(pid));
    await containerd.api.stopPodSandbox({ podSandboxId });
    await eventually("its pause has ended", () => !isAlive(pid));
    await containerd.api.removePodSandbox({ podSandboxId });
  } finally {
    await containerd.close();
  }
});
