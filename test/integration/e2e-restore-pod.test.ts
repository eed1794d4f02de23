// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { COUNTER, countsOn, tar } from "./harness/counter.ts";
import { criu, criuConfig } from "./harness/criu.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  busybox,
  type ContainerConfig,
  containerPid,
  containerStatus,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  type SandboxConfig,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { namespaceOf, parentOf, statusField } from "./harness/proc.ts";

const fixture = useDaemon({ config: criuConfig });
const dir = mkdtempSync(join(tmpdir(), "prt-restore-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const KUBELET: ContainerConfig = {
  logPath: "counter.log",
  linux: {
    securityContext: {
      namespaceOptions: { pid: 1 },
      noNewPrivs: true,
      capabilities: { dropCapabilities: ["ALL"] },
      seccomp: { profileType: 0 },
      maskedPaths: ["/proc/version", "/proc/acpi", "/sys/firmware", "/proc/nowhere"],
      readonlyPaths: ["/proc/sys", "/proc/bus"],
    },
  } as never,
};

/** A pod with a counter, checkpointed, stopped and removed; answers the directory and the last count seen before. */
async function checkpointed(
  name: string,
  more: ContainerConfig = {},
  file = "/count",
): Promise<{ path: string; count: number; request: RestoreRequest }> {
  const { daemon } = fixture;
  const podSandboxId = await runSandbox(daemon, name, sandboxConfig(name));
  const config = { command: ["sh", "-c", COUNTER], logPath: "counter.log", ...secured({}), ...more };
  const id = await runContainer(daemon, podSandboxId, { name: "counter", ...config } as never);
  const counted = async () => Number(await shellIn(daemon, id, `cat ${file}`));
  await eventually("it counts", async () => (await counted()) > 2);
  await shellIn(daemon, id, "echo kept >/dev/shm/note; rm -f /etc/group || true");
  const path = join(dir, name);
  mkdirSync(path);
  const count = await counted();
  await daemon.api.checkpointPod(
    { podSandboxId, outputPath: path, containerIds: [id] },
    { timeoutMs: 30_000 },
  );
  await daemon.api.stopPodSandbox({ podSandboxId });
  await daemon.api.removePodSandbox({ podSandboxId });
  const containerConfigs = [{ metadata: { name: "counter" }, image: { image: busybox }, ...config }];
  return {
    path,
    count,
    request: {
      checkpointPath: path,
      config: sandboxConfig(name),
      containerConfigs: containerConfigs as never,
    },
  };
}

interface RestoreRequest {
  readonly checkpointPath: string;
  readonly config: SandboxConfig;
  readonly containerConfigs: readonly ContainerConfig[];
}

function sandboxConfig(name: string): SandboxConfig {
  return {
    metadata: { name, namespace: "default", uid: `uid-${name}` },
    logDirectory: join(dir, `logs-${name}`),
  } as SandboxConfig;
}

async function restore(request: RestoreRequest): Promise<{ pod: string; id: string }> {
  const reply = await fixture.daemon.api.restorePod(request as never);
  expect(reply.restoredContainers.map(({ name }) => name)).toEqual(["counter"]);
  return { pod: reply.podSandboxId, id: reply.restoredContainers[0]!.containerId };
}

async function refusal(request: object): Promise<string> {
  const error = await fixture.daemon.api.restorePod(request as never).catch(ConnectError.from);
  if (error instanceof ConnectError) return `${Code[error.code]}: ${error.rawMessage}`;
  throw new Error("it succeeded");
}

function hashOf(path: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(path, { recursive: true, encoding: "utf8" }).sort()) {
    hash.update(name);
    if (!name.endsWith("containers")) hash.update(readFileSync(join(path, name)));
  }
  return hash.digest("hex");
}

// Debian's criu is older than many a kernel, and elsewhere there may be none.
describe.skipIf(criu === undefined)("RestorePod", () => {
  test("makes the pod anew, and its container goes on where it was", async () => {
    const { daemon } = fixture;
    const { path, count, request } = await checkpointed("whole");
    const before = hashOf(path);
    const { pod, id } = await restore(request);
    expect((await containerStatus(daemon, id)).state).toBe(ContainerState.CONTAINER_CREATED);
    await daemon.api.startContainer({ containerId: id });
    expect((await containerStatus(daemon, id)).state).toBe(ContainerState.CONTAINER_RUNNING);
    expect(hashOf(path)).toBe(before);
    await countsOn(daemon, id);

    const log = () => readFileSync(join(dir, "logs-whole/counter.log"), "utf8").trim().split("\n");
    const numbers = (await eventually("it says so", () => log().length > 5 && log())).map((line) =>
      Number(line.split(" ")[3]),
    );
    // The log goes on in the same file: what the memory had comes next, or was said already.
    for (let i = 1; i < numbers.length; i++) expect(numbers[i]! - numbers[i - 1]!).toBeLessThanOrEqual(1);
    expect(numbers.at(-1)!).toBeGreaterThan(count);
    expect(await shellIn(daemon, id, "cat /dev/shm/note; ls /etc/group 2>/dev/null || echo gone")).toBe(
      "kept\ngone",
    );

    const pid = await containerPid(daemon, id);
    expect(statusField(pid, "NSpid").split("\t").at(-1)).toBe("1");
    const pause = await pausePid(daemon, pod);
    expect(parentOf(pid)).toBe(parentOf(pause));
    for (const kind of ["net", "ipc", "uts"] as const)
      expect(namespaceOf(pid, kind)).toBe(namespaceOf(pause, kind));
    for (const kind of ["mnt", "pid", "cgroup"] as const) {
      expect(namespaceOf(pid, kind)).not.toBe(namespaceOf("self", kind));
    }
    await daemon.api.stopContainer({ containerId: id, timeout: 1n });
    expect((await exited(daemon, id)).exitCode).toBe(137);
    await daemon.api.removeContainer({ containerId: id });
  });

  test("a container confined as a kubelet asks is confined as before", async () => {
    const { daemon } = fixture;
    const command = ["sh", "-c", COUNTER.replace("/count", "/dev/shm/count")];
    const { request } = await checkpointed("confined", { ...KUBELET, command }, "/dev/shm/count");
    const { id } = await restore(request);
    await daemon.api.startContainer({ containerId: id });
    const pid = await containerPid(daemon, id);
    expect(statusField(pid, "Seccomp")).toBe("2");
    expect(statusField(pid, "NoNewPrivs")).toBe("1");
    expect(statusField(pid, "CapBnd")).toBe("0000000000000000");
    expect(
      await shellIn(daemon, id, "wc -c </proc/version; ls /proc/acpi /sys/firmware | grep -v : | wc -w"),
    ).toBe("0\n0");
  });

  test("exec, a second checkpoint, its exit code and a restart of the daemon are as with others", async () => {
    const { daemon } = fixture;
    const line = "trap 'exit 7' TERM; i=0; while true; do i=$((i+1)); echo $i >/count; sleep 0.05; done";
    const { request } = await checkpointed("again", { command: ["sh", "-c", line] });
    const { pod, id } = await restore(request);
    await daemon.api.startContainer({ containerId: id });
    await daemon.kill();
    await daemon.start();
    await countsOn(daemon, id);
    const second = join(dir, "again-2");
    mkdirSync(second);
    await daemon.api.checkpointPod(
      { podSandboxId: pod, outputPath: second, containerIds: [id] },
      { timeoutMs: 30_000 },
    );
    await daemon.api.stopContainer({ containerId: id, timeout: 10n });
    const status = await exited(daemon, id);
    expect([status.exitCode, status.reason]).toEqual([7, "Error"]);
    const metadata = { name: "again-2", namespace: "default", uid: "uid-again-2" };
    const config = { ...sandboxConfig("again"), metadata } as SandboxConfig;
    const next = await restore({ ...request, checkpointPath: second, config });
    await daemon.api.startContainer({ containerId: next.id });
    await countsOn(daemon, next.id);
  });

  test("refuses a name that is taken, other containers, options and handlers; nothing is made", async () => {
    const { daemon } = fixture;
    const { request } = await checkpointed("refused");
    const sandboxes = async () => (await daemon.api.listPodSandbox({})).items.map(({ id }) => id);
    const before = await sandboxes();
    const config = (name: string) => ({ metadata: { name }, image: { image: busybox }, ...secured({}) });
    const refused = (change: object) => refusal({ ...request, ...change });
    expect(await refused({ containerConfigs: [config("other")] })).toStartWith(
      "InvalidArgument: container_configs[0].metadata.name: is no container of the checkpoint, which has counter",
    );
    expect(await refused({ containerConfigs: [] })).toBe(
      "InvalidArgument: container_configs: leaves out container counter of the checkpoint",
    );
    expect(await refused({ containerConfigs: [{ ...config("counter"), tty: true }] })).toStartWith(
      "Unimplemented: ",
    );
    expect(await refused({ options: { fast: "yes" } })).toContain("options[fast]: ");
    expect(await refused({ runtimeHandler: "other" })).toStartWith("InvalidArgument: runtime_handler: ");
    expect(await refused({ checkpointPath: "relative" })).toStartWith(
      "InvalidArgument: checkpoint_path: must be",
    );
    expect(await refused({ checkpointPath: dir })).toStartWith(
      "InvalidArgument: checkpoint_path: is no checkpoint",
    );
    // Made only after the sandbox: all of that goes away again.
    const missing = { ...config("counter"), image: { image: "docker.io/library/missing:1" } };
    expect(await refused({ containerConfigs: [missing] })).toStartWith(
      "NotFound: cannot create container counter",
    );
    expect(await sandboxes()).toEqual(before);
    await restore(request);
    expect(await refused({})).toStartWith("AlreadyExists: ");
    expect((await sandboxes()).length).toBe(before.length + 1);
    expect(readdirSync(join(daemon.root, "lib/checkpoints"))).toEqual([]);
  });

  test("what has more than the configuration gives is killed before it runs", async () => {
    const { daemon } = fixture;
    const { request: whole } = await checkpointed("excess");
    const start = async (uid: string, config: object) => {
      const request = {
        ...whole,
        config: { ...whole.config, metadata: { name: "excess", namespace: "default", uid } } as SandboxConfig,
        containerConfigs: [{ ...whole.containerConfigs[0], ...config } as ContainerConfig],
      };
      const { id } = await restore(request);
      const error = await daemon.api.startContainer({ containerId: id }).catch(ConnectError.from);
      if (!(error instanceof ConnectError)) throw new Error("it started");
      const status = await containerStatus(daemon, id);
      expect([status.exitCode, status.reason]).toEqual([128, "StartError"]);
      return error.rawMessage.replace(id, "ID");
    };
    const excess = "container ID is not restored: its checkpoint";
    expect(await start("1", secured({ capabilities: { dropCapabilities: ["ALL"] } as never }))).toBe(
      `${excess} has more capabilities (CapPrm of a process) than its configuration allows`,
    );
    expect(await start("2", secured({ noNewPrivs: true }))).toContain("may gain privileges by execve");
    expect(await start("3", secured({ maskedPaths: ["/proc/version"] }))).toContain("(/proc/version)");
    expect(await start("4", secured({ readonlyPaths: ["/proc/sys"] }))).toContain("(/proc/sys)");
    const mounts = [{ hostPath: dir, containerPath: "/mnt" }];
    expect(await start("5", { ...secured({}), mounts })).toContain("/mnt");
  });

  test("an archive that was tampered with is refused, and nothing of it gets out", async () => {
    const { path, request } = await checkpointed("hostile");
    const archive = join(path, "containers/0.tar");
    const whole = readFileSync(archive);
    const members = join(dir, "members");
    const tampered = async (...args: readonly string[]) => {
      writeFileSync(archive, whole);
      tar("--append", "-f", archive, ...args);
      return await refusal(request);
    };
    mkdirSync(members);
    writeFileSync(join(members, "x"), "x");
    symlinkSync("/etc/passwd", join(members, "link"));
    const refused = (name: string) =>
      `InvalidArgument: checkpoint_path: is no checkpoint that podrt can read: containers/0.tar: ${name} `;
    const from = ["-C", members, "-P"];
    expect(await tampered(...from, "--transform", "s,^x,../../escaped,", "x")).toStartWith(
      refused('"../../escaped" (file)'),
    );
    expect(await tampered(...from, "--transform", "s,^x,checkpoint/../../y,", "x")).toStartWith(
      refused('"checkpoint/../../y" (file)'),
    );
    expect(await tampered(...from, "--transform", "s,^link,checkpoint/core-1.img,", "link")).toStartWith(
      refused('"checkpoint/core-1.img"'),
    );
    expect(await tampered(...from, "--transform", "s,^x,config.dump,", "x")).toStartWith(
      refused('"config.dump" (file)'),
    );
    writeFileSync(archive, whole.subarray(0, whole.length / 2));
    expect(await refusal(request)).toStartWith("InvalidArgument: checkpoint_path: ");
    writeFileSync(archive, whole);
    const pod = join(path, "pod.json");
    const document = readFileSync(pod, "utf8");
    writeFileSync(pod, document.replace("containers/0.tar", "../../etc/shadow"));
    expect(await refusal(request)).toContain("names an archive elsewhere");
    expect(readdirSync(join(fixture.daemon.root, "lib/checkpoints"))).toEqual([]);
  });

  test("a daemon that is killed meanwhile leaves a whole pod or none, and a start is repeated or complete", async () => {
    const { daemon } = fixture;
    const { request } = await checkpointed("killed");
    for (const delayMs of [30, 60, 100, 150]) {
      daemon.api.restorePod(request as never).catch(() => {});
      await Bun.sleep(delayMs);
      await daemon.kill();
      await daemon.start();
      const pods = (await daemon.api.listPodSandbox({})).items.filter(
        ({ metadata }) => metadata?.name === "killed",
      );
      const containers = (await daemon.api.listContainers({})).containers.filter(
        ({ podSandboxId }) => podSandboxId === pods[0]?.id,
      );
      expect(containers.length).toBe(pods.length);
      for (const { id } of pods) {
        await daemon.api.stopPodSandbox({ podSandboxId: id });
        await daemon.api.removePodSandbox({ podSandboxId: id });
      }
    }
    for (const delayMs of [20, 50, 80, 120]) {
      const { pod, id } = await restore(request);
      daemon.api.startContainer({ containerId: id }).catch(() => {});
      await Bun.sleep(delayMs);
      await daemon.kill();
      await daemon.start();
      const { state, exitCode } = await containerStatus(daemon, id);
      if (state === ContainerState.CONTAINER_CREATED) await daemon.api.startContainer({ containerId: id });
      // The monitor's journal had its start, but nobody had looked at it yet.
      if (state === ContainerState.CONTAINER_EXITED) expect(exitCode).toBe(137);
      else await countsOn(daemon, id);
      await daemon.api.stopPodSandbox({ podSandboxId: pod });
      await daemon.api.removePodSandbox({ podSandboxId: pod });
    }
  });
});
