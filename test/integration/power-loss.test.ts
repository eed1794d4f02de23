// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { problemsOf } from "../faults/checker.ts";
import { writeImageFiles } from "../fixtures/images/archives.ts";
import { prepareImages, startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { patience } from "../support/patience.ts";
import { outputOf } from "./harness/command.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { canMakeDisks, newDisk, type OwnDisk } from "./harness/own-disk.ts";
import { busybox, ensureImage, exited, nginx, runContainer, runSandbox } from "./harness/pods.ts";
import { reboot } from "./harness/reboot.ts";

const imported = "podrt/volume-content:latest";

setDefaultTimeout(90_000 * patience);

// The power is cut for one file system only, which takes a loop device and mkfs.ext4.
describe.skipIf(!(await canMakeDisks()))(
  "on a disk of its own (skipped without loop devices and mkfs.ext4)",
  () => {
    let registry: Registry;
    let disk: OwnDisk;
    let daemon: Daemon;
    const directory = mkdtempSync(join(tmpdir(), "podrt-power-"));

    beforeAll(async () => {
      registry = await startImageRegistry();
      disk = await newDisk(512);
      daemon = await startDaemon({ mirror: registry.host, root: disk.directory });
    });
    afterAll(async () => {
      await daemon?.close();
      await disk?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true });
    });

    /** The power goes, now, and comes back: what was not on the disk is lost, and with it all processes. */
    async function losePower(): Promise<void> {
      disk.cutPower();
      await reboot(daemon, { whileDown: () => disk.powerOn() });
    }

    /** Content, modes and times of all blobs and unpacked layers. */
    const filesOfImages = () =>
      outputOf("sh", [
        "-c",
        `cd ${join(daemon.root, "lib")} && tar -c --sort=name blobs/*/* layers/* | sha256sum`,
      ]);
    const namesOfImages = async () =>
      (await daemon.api.listImages({})).images.flatMap(({ repoTags }) => repoTags).sort();

    test("what was acknowledged is there after a power loss: images pulled, imported and removed, pods to be kept", async () => {
      const { ociArchive } = writeImageFiles((await prepareImages()).layoutDir, imported, directory);
      const container = `{ name: app, image: "${busybox}", command: ["sleep", "3600"] }`;
      const manifest = `{ apiVersion: v1, kind: Pod, metadata: { name: kept }, spec: { containers: [${container}] } }`;
      await ensureImage(daemon, nginx);
      const sandboxId = await runSandbox(daemon, "before");
      await runContainer(daemon, sandboxId, { name: "app" });
      await daemon.api.removeImage({ image: { image: nginx } });
      const steps: readonly (() => Promise<unknown>)[] = [
        async () => {
          for await (const _ of daemon.pods.import({ path: ociArchive, name: imported }));
        },
        () => daemon.api.pullImage({ image: { image: nginx } }),
        () => daemon.api.removeImage({ image: { image: nginx } }),
      ];
      const seen: string[][] = [];
      for (const step of steps) {
        await disk.flush();
        await step();
        const before = { names: await namesOfImages(), files: await filesOfImages() };
        await losePower();
        expect({ names: await namesOfImages(), files: await filesOfImages() }).toEqual(before);
        seen.push(before.names);
      }
      expect(
        seen.map((names) => [names.includes(nginx), names.some((name) => name.endsWith(imported))]),
      ).toEqual([
        [false, true],
        [true, true],
        [false, true],
      ]);
      await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
      await disk.flush();
      await daemon.pods.runPod({ files: [{ name: "kept.yaml", text: manifest }] });
      await losePower();
      await eventually("the kept pod runs", async () =>
        (await daemon.pods.listPods({})).pods.some(
          ({ name, phase }) => name?.name === "kept" && phase === "Running",
        ),
      );
    });

    test("in the midst of a pull it leaves no half image, and the next pull has it whole", async () => {
      for (const delayMs of [0, 40, 120, 300]) {
        await daemon.api.removeImage({ image: { image: nginx } });
        await disk.flush();
        const pull = daemon.api.pullImage({ image: { image: nginx } }).catch(() => {});
        await Bun.sleep(delayMs);
        await losePower();
        await pull;
        await daemon.api.pullImage({ image: { image: nginx } });
        const sandboxId = await runSandbox(daemon, `after-${delayMs}`);
        const check = { name: "app", image: { image: nginx }, command: ["nginx", "-t"] };
        const { exitCode } = await exited(daemon, await runContainer(daemon, sandboxId, check));
        expect(exitCode).toBe(0);
        await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
      }
      await daemon.pods.deletePod({ namespace: "default", name: "kept", graceSeconds: 0 });
      await eventually("records and machine agree", async () => {
        const problems = await problemsOf(daemon);
        if (problems.length > 0) throw new Error(problems.join("\n"));
        return true;
      });
    });
  },
);
