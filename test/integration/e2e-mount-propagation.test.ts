// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MountPropagation, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import { mountAt, mountOnItself, mountsOf } from "./harness/host-mounts.ts";
import { containerPid, containerStatus, execIn, runContainer, runSandbox, shellIn } from "./harness/pods.ts";

const { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } = MountPropagation;

const fixture = useDaemon();
let sandboxId: string;
let dir: string;

beforeAll(async () => {
  dir = join(fixture.daemon.root, "host");
  mkdirSync(dir);
  sandboxId = await runSandbox(fixture.daemon, "propagation", {
    linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
  });
});

/** A privileged container, which may mount, with `hostPath` at /shared. */
async function container(name: string, hostPath: string, propagation: MountPropagation): Promise<string> {
  const id = await runContainer(fixture.daemon, sandboxId, {
    name,
    mounts: [{ hostPath, containerPath: "/shared", propagation }],
    linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
  });
  expect((await containerStatus(fixture.daemon, id)).mounts[0]?.propagation).toBe(propagation);
  return id;
}

test.each([
  ["private", PROPAGATION_PRIVATE, { toContainer: false, toHost: false }],
  ["host to container", PROPAGATION_HOST_TO_CONTAINER, { toContainer: true, toHost: false }],
  ["bidirectional", PROPAGATION_BIDIRECTIONAL, { toContainer: true, toHost: true }],
] as const)(
  "%s: mounts made on either side later are seen as they should be",
  async (name, propagation, goes) => {
    const { daemon } = fixture;
    const key = name.replaceAll(" ", "-");
    await using shared = await mountOnItself(join(dir, key), "shared");
    for (const point of ["before", "from-host", "from-container"]) mkdirSync(join(shared.path, point));
    await outputOf("mount", ["-t", "tmpfs", "before", join(shared.path, "before")]);
    writeFileSync(join(shared.path, "before/seen"), "before\n");
    const id = await container(key, shared.path, propagation);
    expect(await shellIn(daemon, id, "cat /shared/before/seen")).toBe("before");

    await outputOf("mount", ["-t", "tmpfs", "late", join(shared.path, "from-host")]);
    writeFileSync(join(shared.path, "from-host/seen"), "late\n");
    expect((await execIn(daemon, id, "cat", "/shared/from-host/seen")).stdout).toBe(
      goes.toContainer ? "late\n" : "",
    );

    await shellIn(
      daemon,
      id,
      "mount -t tmpfs late /shared/from-container && touch /shared/from-container/seen",
    );
    expect(existsSync(join(shared.path, "from-container/seen"))).toBe(goes.toHost);

    await outputOf("umount", [join(shared.path, "from-host")]);
    expect((await execIn(daemon, id, "ls", "/shared/from-host/seen")).code).not.toBe(0);
    await daemon.api.removeContainer({ containerId: id });
  },
);

test("the kernel has the mount and the root of the container in the groups that were asked for", async () => {
  const { daemon } = fixture;
  await using shared = await mountOnItself(join(dir, "groups"), "shared");
  const ofHost = mountAt("self", shared.path).optional;
  expect(ofHost).toEqual([expect.stringMatching(/^shared:\d+$/)]);
  const peers = ofHost[0]!.slice("shared:".length);
  const cases = [
    ["alone", PROPAGATION_PRIVATE, [], []],
    ["slave", PROPAGATION_HOST_TO_CONTAINER, [`master:${peers}`], []],
    ["peer", PROPAGATION_BIDIRECTIONAL, [`shared:${peers}`], [expect.stringMatching(/^shared:/)]],
  ] as const;
  for (const [name, propagation, atMount, atRoot] of cases) {
    const id = await container(name, shared.path, propagation);
    const pid = await containerPid(daemon, id);
    expect(mountAt(pid, "/shared").optional).toEqual([...atMount]);
    expect(mountAt(pid, "/").optional).toEqual([...atRoot] as string[]);
    // No other mount of the container may hand on what happens to it.
    const others = mountsOf(pid).filter(({ path }) => path !== "/" && path !== "/shared");
    expect(others.filter(({ optional }) => optional.length > 0)).toEqual([]);
    await daemon.api.removeContainer({ containerId: id });
  }
});

test("a slave of the host's can be handed on one way, and not the other", async () => {
  const { daemon } = fixture;
  await using master = await mountOnItself(join(dir, "master"), "shared");
  mkdirSync(join(dir, "slave"));
  await outputOf("mount", ["--bind", master.path, join(dir, "slave")]);
  await outputOf("mount", ["--make-slave", join(dir, "slave")]);
  try {
    const id = await container("of-slave", join(dir, "slave"), PROPAGATION_HOST_TO_CONTAINER);
    mkdirSync(join(master.path, "late"));
    await outputOf("mount", ["-t", "tmpfs", "late", join(master.path, "late")]);
    writeFileSync(join(master.path, "late/seen"), "late\n");
    expect(await shellIn(daemon, id, "cat /shared/late/seen")).toBe("late");
    await expect(container("up", join(dir, "slave"), PROPAGATION_BIDIRECTIONAL)).rejects.toThrow(
      `config.mounts[0].propagation: ${join(dir, "slave")} is not on a shared mount; run mount --make-rshared`,
    );
    await daemon.api.removeContainer({ containerId: id });
  } finally {
    await outputOf("umount", ["-R", "-l", join(dir, "slave")]);
  }
});

test("what lies on a private mount cannot be shared, whatever is mounted beside it", async () => {
  await using shared = await mountOnItself(join(dir, "outer"), "shared");
  await using alone = await mountOnItself(join(shared.path, "inner"), "private");
  mkdirSync(join(alone.path, "data"));
  for (const propagation of [PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL]) {
    await expect(container(`refused-${propagation}`, join(alone.path, "data"), propagation)).rejects.toThrow(
      /is not on a shared( or slave)? mount/,
    );
  }
});

test("nothing of the container's own is mounted on the host below a mount that is shared with it", async () => {
  const { daemon } = fixture;
  await using sys = await mountOnItself(join(dir, "sys"), "shared");
  await using dev = await mountOnItself(join(dir, "dev"), "shared");
  mkdirSync(join(sys.path, "fs/cgroup"), { recursive: true });
  writeFileSync(join(dev.path, "console"), "");
  const propagation = PROPAGATION_BIDIRECTIONAL;
  const id = await runContainer(daemon, sandboxId, {
    name: "host-like",
    tty: true,
    mounts: [
      { hostPath: sys.path, containerPath: "/sys", propagation },
      { hostPath: dev.path, containerPath: "/dev", propagation },
    ],
    linux: { securityContext: { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
  });
  const below = (pid: number | "self", tops: readonly string[]) =>
    mountsOf(pid).filter(({ path }) => tops.some((top) => path.startsWith(`${top}/`)));
  expect(below(await containerPid(daemon, id), ["/sys", "/dev"])).toEqual([]);
  expect(below("self", [sys.path, dev.path])).toEqual([]);
  await daemon.api.removeContainer({ containerId: id });
});
