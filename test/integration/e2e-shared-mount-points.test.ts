// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../src/gen/runtime/v1/api_pb.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { busybox, type ContainerConfig, createContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";

/* Containers of the same image with the same mounts stand on one layer with their mount points. */

const fixture = useDaemon();
const timeoutMs = 60_000 * patience;

const lib = (...path: readonly string[]) => join(fixture.daemon.root, "lib", ...path);
const layerNames = () => readdirSync(lib("layers")).sort();
const upperOf = (id: string) => lib("containers", id, "upper");
const written = (directory: string) => readdirSync(directory, { recursive: true }).map(String).sort();

/** The directory of the common layer on which a container stands: the last, which is not one of the image's. */
function commonOf(id: string): string | undefined {
  const { layers, directories } = JSON.parse(
    readFileSync(lib("containers", id, "snapshot.json"), "utf8"),
  ) as {
    readonly layers: readonly string[];
    readonly directories: readonly string[];
  };
  return directories.length > layers.length ? lib("layers", directories.at(-1)!) : undefined;
}

/** As a kubelet has them in every container, and one more directory where `more` names it. */
function mounts(...more: readonly string[]): Mount[] {
  const host = join(fixture.daemon.root, "host");
  mkdirSync(join(host, "token"), { recursive: true });
  writeFileSync(join(host, "token/token"), "secret");
  for (const file of ["hosts", "termination-log"]) writeFileSync(join(host, file), "");
  return [
    { hostPath: join(host, "hosts"), containerPath: "/etc/hosts" },
    { hostPath: join(host, "termination-log"), containerPath: "/dev/termination-log" },
    { hostPath: join(host, "token"), containerPath: "/var/run/secrets/app", readonly: true },
    ...more.map((containerPath) => ({ hostPath: join(host, "token"), containerPath })),
  ] as Mount[];
}

async function run(sandboxId: string, name: string, config: ContainerConfig): Promise<string> {
  const { daemon } = fixture;
  const containerId = await createContainer(daemon, sandboxId, { name, ...config });
  await daemon.api.startContainer({ containerId });
  return containerId;
}

test(
  "containers with the same mounts share their mount points, and write nothing of their own",
  async () => {
    const { daemon } = fixture;
    const sandboxId = await runSandbox(daemon, "shared");
    const only = await run(sandboxId, "only", { mounts: mounts() });
    expect([commonOf(only), written(upperOf(only)).includes("run/secrets/app")]).toEqual([undefined, true]);
    const first = await run(sandboxId, "first", { mounts: mounts() });
    const shared = layerNames();
    const second = await run(sandboxId, "second", { mounts: mounts() });
    expect(layerNames()).toEqual(shared);
    expect(commonOf(second)).toBe(commonOf(first)!);
    for (const id of [first, second]) {
      expect(await shellIn(daemon, id, "cat /run/secrets/app/token; stat -c %a:%u /run/secrets")).toBe(
        "secret755:0",
      );
      expect(written(upperOf(id))).toEqual([]);
    }
    // The image's /var/run is a link.
    expect(written(commonOf(first)!)).toEqual([
      ...["etc", "etc/hostname", "etc/hosts", "etc/resolv.conf", "run", "run/secrets", "run/secrets/app"],
    ]);
    // What one writes there is its own, and its own no other's to see.
    await shellIn(daemon, first, "echo own > /run/secrets/file; rm -r /etc/passwd");
    expect(await shellIn(daemon, second, "ls /run/secrets; ls /etc/passwd")).toBe("app\n/etc/passwd");
    expect(existsSync(join(commonOf(first)!, "run/secrets/file"))).toBe(false);
    const more = { mounts: mounts("/data/deep") };
    await createContainer(daemon, sandboxId, { name: "another", ...more });
    const other = await run(sandboxId, "other", more);
    expect(written(commonOf(other)!)).toContain("data/deep");
    expect(existsSync(join(commonOf(first)!, "data"))).toBe(false);
    expect(await shellIn(daemon, first, "ls -d /data || true")).toBe("");
    await daemon.api.stopContainer({ containerId: first, timeout: 0n });
    const copied = await daemon.podrt("cp", `shared/first:/run/secrets`, join(daemon.root, "copied"));
    expect(copied.code).toBe(0);
    expect(written(join(daemon.root, "copied"))).toEqual(["app", "file"]);
    await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  },
  timeoutMs,
);

test(
  "a container in a user namespace has its mount points in its own layer",
  async () => {
    const { daemon } = fixture;
    const sandboxId = await runMappedSandbox(daemon, "mapped");
    for (const name of ["one", "two"]) {
      const id = await runMapped(daemon, sandboxId, { name, mounts: mounts() });
      expect(commonOf(id)).toBeUndefined();
      expect(written(upperOf(id))).toContain("run/secrets/app");
    }
    await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  },
  timeoutMs,
);

test(
  "the layer outlives a killed daemon under its container, and goes with that, or else with the image",
  async () => {
    const { daemon } = fixture;
    const sandboxId = await runSandbox(daemon, "killed");
    const config = { mounts: mounts("/of-killed") };
    await createContainer(daemon, sandboxId, { name: "earlier", ...config });
    const before = await createContainer(daemon, sandboxId, { name: "before", ...config });
    const kept = commonOf(before)!;
    await daemon.kill();
    // What a daemon leaves that dies while it makes one.
    mkdirSync(lib("layers/.new-9999-half/upper/etc"), { recursive: true });
    await daemon.start();
    await eventually("nothing is half done", () => !existsSync(lib("layers/.new-9999-half")), 60_000);
    await daemon.api.startContainer({ containerId: before });
    expect(await shellIn(daemon, before, "cat /of-killed/token")).toBe("secret");
    expect(written(upperOf(before))).toEqual([]);
    await createContainer(daemon, sandboxId, { name: "later", ...config });
    const after = await run(sandboxId, "after", config);
    const anew = commonOf(after)!;
    expect(anew).not.toBe(kept);
    await daemon.api.stopContainer({ containerId: before, timeout: 0n });
    await daemon.api.removeContainer({ containerId: before });
    expect(existsSync(kept)).toBe(false);
    // The image is gone, but its layers are needed.
    await daemon.api.removeImage({ image: { image: busybox } });
    expect(await shellIn(daemon, after, "cat /of-killed/token")).toBe("secret");
    expect(statSync(anew).isDirectory()).toBe(true);
    await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
    const pause = (await daemon.api.listImages({})).images.length;
    await eventually("the layers are gone", () => layerNames().length <= pause, 60_000);
    expect(existsSync(anew)).toBe(false);
  },
  timeoutMs,
);
