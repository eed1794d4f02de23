// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ContainerState, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { openSession } from "../fixtures/session-client.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  containerPid,
  containerStatus,
  createContainer,
  ensureImage,
  execIn,
  exited,
  pausePid,
  runContainer,
  shellIn,
} from "./harness/pods.ts";

/** Pods whose containers an OCI runtime makes, with each of those that this machine has. */
const installed = (["runc", "crun"] as const).flatMap((name) => {
  const path = ["/usr/sbin", "/usr/bin"].map((dir) => join(dir, name)).find((file) => existsSync(file));
  return path === undefined ? [] : [{ name, path }];
});

setDefaultTimeout(60_000 * patience);
const scratch = mkdtempSync(join(tmpdir(), "podrt-oci-"));
/** Never gets beyond making a container. */
const stuck = join(scratch, "stuck");
writeFileSync(
  stuck,
  `#!/bin/sh\ncase " $* " in *" start "*) touch ${scratch}/starting; exec sleep 3600 ;; esac\nexec ${installed[0]?.path} "$@"\n`,
  { mode: 0o755 },
);
const handlers = [
  ...installed,
  { name: "absent", path: "/nonexistent/runtime" },
  { name: "stuck", path: stuck },
];
const fixture = useDaemon({
  config: handlers.map(({ name, path }) => `[runtimes.${name}]\ntype = "oci"\npath = "${path}"\n`).join(""),
});

const linux = { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } };

afterAll(() => rmSync(scratch, { recursive: true }));

async function podOf(runtimeHandler: string, name: string, logDirectory = ""): Promise<string> {
  const config = {
    metadata: { name: `${runtimeHandler}-${name}`, namespace: "default", uid: `${runtimeHandler}-${name}` },
    logDirectory,
    linux,
  };
  return (await fixture.daemon.api.runPodSandbox({ config, runtimeHandler } as never)).podSandboxId;
}

const namespaceOf = (pid: number, type: string) => readlinkSync(`/proc/${pid}/ns/${type}`);

test("Status has the configured handlers, with the features that podrt asks of them", async () => {
  const { runtimeHandlers } = await fixture.daemon.api.status({});
  expect(runtimeHandlers.map(({ name }) => name)).toEqual(["", "podrt", ...handlers.map(({ name }) => name)]);
  for (const { name, features } of runtimeHandlers.slice(2)) {
    expect([name, features?.recursiveReadOnlyMounts, features?.userNamespaces]).toEqual([name, false, false]);
  }
});

test("a handler that is not configured is refused by name", async () => {
  await expect(podOf("kata", "x")).rejects.toThrow('runtime_handler: there is no runtime handler "kata"');
});

test("a handler whose program is not there fails the start with its path, and leaves nothing", async () => {
  const { daemon } = fixture;
  const pod = await podOf("absent", "pod");
  const id = await createContainer(daemon, pod, { name: "app" });
  await expect(daemon.api.startContainer({ containerId: id })).rejects.toThrow(
    "/nonexistent/runtime: ENOENT",
  );
  expect(await containerStatus(daemon, id)).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 128,
    reason: "StartError",
  });
  await daemon.api.stopPodSandbox({ podSandboxId: pod });
  await daemon.api.removePodSandbox({ podSandboxId: pod });
});

// It passes all but one command on to another.
test.skipIf(installed.length === 0)(
  "a start that the daemon's death interrupts is a failed one",
  async () => {
    const { daemon } = fixture;
    const pod = await podOf("stuck", "pod");
    const id = await createContainer(daemon, pod, { name: "app" });
    const starting = daemon.api.startContainer({ containerId: id }).catch(() => {});
    const pidFile = join(daemon.root, "run/pods", pod, "oci", id, "pid");
    const pid = await eventually("the container is made", async () => Number(readFileSync(pidFile, "utf8")));
    await eventually("it is being started", async () => existsSync(join(scratch, "starting")));
    await daemon.kill();
    await starting;
    await daemon.start();
    expect(await containerStatus(daemon, id)).toMatchObject({
      state: ContainerState.CONTAINER_EXITED,
      exitCode: 128,
      reason: "StartError",
    });
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  },
);

// A machine has whichever of them its distribution brought, or none.
describe.skipIf(installed.length === 0).each(installed)("$name", ({ name: handler, path }) => {
  test("makes containers in the pod's namespaces, with the configuration's process, and executes in them", async () => {
    const { daemon } = fixture;
    const logs = mkdtempSync(join(scratch, "logs-"));
    const pod = await podOf(handler, "pod", logs);
    const id = await runContainer(daemon, pod, {
      name: "app",
      command: [
        "sh",
        "-c",
        'echo "hello $GREETED"; echo oops >&2; trap "exit 7" TERM; while :; do sleep 0.1; done',
      ],
      envs: [{ key: "GREETED", value: new TextEncoder().encode("world") }],
      logPath: "app.log",
      linux: {
        resources: { memoryLimitInBytes: 64n << 20n },
        securityContext: {
          ...linux.securityContext,
          runAsUser: { value: 1000n },
          noNewPrivs: true,
          maskedPaths: ["/proc/keys"],
          seccomp: { profileType: 0 },
        },
      },
    } as never);
    const pid = await containerPid(daemon, id);
    const pause = await pausePid(daemon, pod);
    for (const type of ["net", "ipc", "uts"]) expect(namespaceOf(pid, type)).toBe(namespaceOf(pause, type));
    expect(namespaceOf(pid, "pid")).not.toBe(namespaceOf(pause, "pid"));
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/NoNewPrivs:\s1[\s\S]*Seccomp:\s2/);
    expect(await shellIn(daemon, id, "id -u; cat /proc/keys; mount -t overlay | grep -c ' / '")).toBe(
      "1000\n1",
    );
    expect(await execIn(daemon, id, "sh", "-c", "echo out; echo err >&2; exit 3")).toEqual({
      code: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    await eventually("both lines are in the log", async () =>
      /stdout F hello world[\s\S]*stderr F oops|stderr F oops[\s\S]*stdout F hello world/.test(
        readFileSync(join(logs, "app.log"), "utf8"),
      ),
    );
    const { stats } = await daemon.api.containerStats({ containerId: id });
    expect(stats?.memory?.workingSetBytes?.value).toBeGreaterThan(0n);
    await daemon.api.stopContainer({ containerId: id, timeout: 30n });
    expect(await containerStatus(daemon, id)).toMatchObject({ exitCode: 7, reason: "Error" });
    expect(readdirSync(join(daemon.root, "run/pods", pod, "oci")).includes(id)).toBe(false);
  });

  test("an exec that runs out of time is killed with what it has started", async () => {
    const { daemon } = fixture;
    const id = await runContainer(daemon, await podOf(handler, "timeout"), { name: "app" });
    const late = daemon.api.execSync({
      containerId: id,
      cmd: ["sh", "-c", "sleep 4321 & sleep 4322"],
      timeout: 1n,
    });
    await expect(late).rejects.toThrow("1");
    await eventually("its processes are gone", async () => {
      const { stdout } = await execIn(daemon, id, "ps");
      return !stdout.includes("sleep 432");
    });
  });

  test("processes, images and volumes of a pod are shared as they are with podrt's own handler", async () => {
    const { daemon } = fixture;
    const config = {
      metadata: { name: `${handler}-shared`, namespace: "default", uid: `${handler}-shared` },
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
    };
    const { podSandboxId } = await daemon.api.runPodSandbox({ config, runtimeHandler: handler } as never);
    const shared = {
      securityContext: { readonlyRootfs: true, namespaceOptions: { pid: NamespaceMode.POD } },
    };
    const id = await runContainer(daemon, podSandboxId, {
      name: "app",
      linux: shared,
      mounts: [
        { containerPath: "/image", readonly: true, image: { image: busybox } },
        { containerPath: "/part", readonly: true, image: { image: busybox }, imageSubPath: "bin" },
        { containerPath: "/volume", hostPath: scratch },
      ],
    } as never);
    expect(
      await shellIn(daemon, id, "cat /proc/1/comm; ls /image/bin/busybox /part/busybox; touch /volume/seen"),
    ).toBe("pause\n/image/bin/busybox\n/part/busybox");
    expect(existsSync(join(scratch, "seen"))).toBe(true);
    for (const place of ["/image", "/etc"]) {
      expect((await execIn(daemon, id, "touch", `${place}/x`)).stderr).toContain("Read-only file system");
    }
    await daemon.api.stopContainer({ containerId: id, timeout: 0n });
    expect((await containerStatus(daemon, id)).exitCode).toBe(137);
  });

  test("a terminal is the container's, and an exec's", async () => {
    const { daemon } = fixture;
    const logs = mkdtempSync(join(scratch, "logs-"));
    const pod = await podOf(handler, "tty", logs);
    const id = await runContainer(daemon, pod, {
      name: "app",
      command: ["sh", "-c", "tty; stty -a | head -1; exec sleep 3600"],
      tty: true,
      stdin: true,
      logPath: "app.log",
    });
    await eventually("it has told of its terminal", async () =>
      /stdout F \/dev\/(pts\/0|console)\s/.test(readFileSync(join(logs, "app.log"), "utf8")),
    );
    const { url } = await daemon.api.exec({
      containerId: id,
      cmd: ["sh"],
      stdin: true,
      stdout: true,
      tty: true,
    });
    const session = await openSession(url, "websocket", { stdin: true, stdout: true, tty: true });
    await session.resize(123, 45);
    await eventually("the size is the terminal's", async () => {
      await session.write("stty size; tty\n");
      await Bun.sleep(50);
      return /45 123[\s\S]*\/dev\/pts\/\d/.test(session.stdout());
    });
    await session.write("exit 4\n");
    expect((await session.status()).details?.causes[0]?.message).toBe("4");
  });

  test("an exit while the daemon is away is known afterwards, and output then too", async () => {
    const { daemon } = fixture;
    const logs = mkdtempSync(join(scratch, "logs-"));
    const pod = await podOf(handler, "away", logs);
    const ends = await runContainer(daemon, pod, {
      name: "ends",
      command: ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo last words; exit 42"],
      logPath: "ends.log",
    });
    const stays = await runContainer(daemon, pod, { name: "stays" });
    const pid = await containerPid(daemon, ends);
    await shellIn(daemon, ends, "(sleep 0.3; touch /tmp/go) >/dev/null 2>&1 &");
    await daemon.kill();
    await eventually("the container has ended", async () => !existsSync(`/proc/${pid}`));
    await daemon.start();
    expect((await exited(daemon, ends)).exitCode).toBe(42);
    expect(readFileSync(join(logs, "ends.log"), "utf8")).toContain("stdout F last words");
    expect(await shellIn(daemon, stays, "echo here")).toBe("here");
  });

  test("what podrt does not ask of it is refused by name", async () => {
    const { daemon } = fixture;
    const pod = await podOf(handler, "refusals");
    const mount = { containerPath: "/x", hostPath: "/tmp", readonly: true };
    await ensureImage(daemon, busybox);
    await expect(
      createContainer(daemon, pod, { name: "a", mounts: [{ ...mount, recursiveReadOnly: true }] }),
    ).rejects.toThrow(
      `config.mounts[0].recursive_read_only: not supported with the runtime handler ${handler}`,
    );
    const id = await runContainer(daemon, pod, { name: "b" });
    await expect(
      daemon.api.checkpointContainer({ containerId: id, location: join(daemon.root, "c.tar"), timeout: 10n }),
    ).rejects.toThrow("another runtime handler");
    const userns = {
      mode: NamespaceMode.POD,
      uids: [{ hostId: 70000, containerId: 0, length: 65536 }],
      gids: [{ hostId: 70000, containerId: 0, length: 65536 }],
    };
    const config = {
      metadata: { name: "userns", namespace: "default", uid: `userns-${handler}` },
      linux: {
        securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER, usernsOptions: userns } },
      },
    };
    await expect(daemon.api.runPodSandbox({ config, runtimeHandler: handler } as never)).rejects.toThrow(
      `userns_options: not supported with the runtime handler ${handler}`,
    );
  });

  test("its own reason is told when it refuses a container", async () => {
    const { daemon } = fixture;
    const pod = await podOf(handler, "failure");
    const id = await createContainer(daemon, pod, { name: "app", command: ["/nothing/here"] });
    await expect(daemon.api.startContainer({ containerId: id })).rejects.toThrow(path);
    expect((await containerStatus(daemon, id)).message).toContain("/nothing/here");
  });
});
