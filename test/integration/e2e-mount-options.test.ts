// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MountPropagation } from "../../src/gen/runtime/v1/api_pb.ts";
import { setuidProgramTree } from "../fixtures/images/setuid-program.ts";
import type { TreeEntry } from "../fixtures/images/tree.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import { mountAt, mountNew, mountOnItself } from "./harness/host-mounts.ts";
import {
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  runContainer,
  runSandbox,
  secured,
} from "./harness/pods.ts";

const fixture = useDaemon();
let sandboxId: string;
let dir: string;

beforeAll(async () => {
  dir = join(fixture.daemon.root, "host");
  mkdirSync(dir);
  sandboxId = await runSandbox(fixture.daemon, "options");
});

test("the features that a kubelet asks for before it sends these fields are announced", async () => {
  const { runtimeHandlers, features } = await fixture.daemon.api.status({});
  expect(runtimeHandlers.map(({ name, features }) => [name, features?.recursiveReadOnlyMounts])).toEqual([
    ["", true],
    ["podrt", true],
  ]);
  expect(features?.mountOptions).toBe(true);
});

test("read-only covers one mount, recursively read-only those below it too", async () => {
  const { daemon } = fixture;
  await using top = await mountNew("tmpfs", join(dir, "top"));
  await using below = await mountNew("tmpfs", join(top.path, "below"));
  await using deepest = await mountNew("tmpfs", join(below.path, "deepest"));
  const places = ["", "/below", "/below/deepest"];
  const mount = { hostPath: top.path, containerPath: "/data", readonly: true };
  const plain = await runContainer(daemon, sandboxId, { name: "plain", mounts: [mount] });
  const whole = await runContainer(daemon, sandboxId, {
    name: "whole",
    mounts: [{ ...mount, recursiveReadOnly: true }],
  });
  const written = async (id: string) => {
    const results = places.map((place) => execIn(daemon, id, "touch", `/data${place}/written`));
    return (await Promise.all(results)).map(({ code, stderr }) =>
      code === 0 ? "written" : stderr.trim().split(": ").at(-1),
    );
  };
  const refused = "Read-only file system";
  expect(await written(plain)).toEqual([refused, "written", "written"]);
  expect(await written(whole)).toEqual([refused, refused, refused]);
  const pid = await containerPid(daemon, whole);
  for (const place of places) expect(mountAt(pid, `/data${place}`).options).toContain("ro");
  expect((await containerStatus(daemon, whole)).mounts[0]).toMatchObject({
    readonly: true,
    recursiveReadOnly: true,
  });
  // Not on the host, whose mounts these are copies of.
  await outputOf("touch", [join(deepest.path, "host")]);
});

test("recursively read-only goes with read-only and private alone, and nothing is made otherwise", async () => {
  const { daemon } = fixture;
  await using shared = await mountOnItself(join(dir, "shared"), "shared");
  const mount = { hostPath: shared.path, containerPath: "/data", recursiveReadOnly: true };
  for (const [readonly, propagation] of [
    [false, MountPropagation.PROPAGATION_PRIVATE],
    [true, MountPropagation.PROPAGATION_HOST_TO_CONTAINER],
    [true, MountPropagation.PROPAGATION_BIDIRECTIONAL],
  ] as const) {
    const mounts = [{ ...mount, readonly, propagation }];
    const creation = createContainer(daemon, sandboxId, { name: "no", mounts });
    await expect(creation).rejects.toThrow("config.mounts[0].recursive_read_only: must not be set with");
  }
  const { containers } = await daemon.api.listContainers({});
  expect(containers.filter(({ metadata }) => metadata?.name === "no")).toEqual([]);
});

test("each option takes away what it is for, and nothing else", async () => {
  const { daemon } = fixture;
  const host = join(dir, "programs");
  mkdirSync(host);
  writeFileSync(join(host, "script"), "#!/bin/sh\necho ran\n");
  const [program] = setuidProgramTree() as [TreeEntry & { content: Uint8Array }];
  writeFileSync(join(host, "uid"), program.content);
  chmodSync(join(host, "script"), 0o755);
  chmodSync(join(host, "uid"), 0o4755);
  await outputOf("mknod", ["-m", "666", join(host, "zero"), "c", "1", "5"]);
  const tried = async (...mountOptions: string[]) => {
    const id = await runContainer(daemon, sandboxId, {
      name: `with-${mountOptions.join("-")}`,
      mounts: [{ hostPath: host, containerPath: "/programs", mountOptions }],
      ...secured({ runAsUser: { value: 1000n } }),
    });
    const said = async (line: string) => {
      const { code, stdout, stderr } = await execIn(daemon, id, "sh", "-c", line);
      return code === 0 ? stdout.trim() : stderr.trim().split(": ").at(-1);
    };
    expect((await containerStatus(daemon, id)).mounts[0]?.mountOptions).toEqual(mountOptions);
    return {
      flags: mountAt(await containerPid(daemon, id), "/programs").options.filter((o) => o.startsWith("no")),
      said: [
        await said("/programs/script"),
        await said("head -c 4 /programs/zero | wc -c"),
        await said("/programs/uid"),
      ],
    };
  };
  const refused = "Permission denied";
  expect(await tried()).toEqual({ flags: [], said: ["ran", "4", "Effective uid: 0"] });
  expect(await tried("noexec")).toEqual({ flags: ["noexec"], said: [refused, "4", refused] });
  expect(await tried("nodev")).toEqual({ flags: ["nodev"], said: ["ran", "0", "Effective uid: 0"] });
  expect(await tried("nosuid")).toEqual({ flags: ["nosuid"], said: ["ran", "4", "Effective uid: 1000"] });
  expect((await tried("noexec", "nosuid", "nodev")).flags.sort()).toEqual(["nodev", "noexec", "nosuid"]);
});
