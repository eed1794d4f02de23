// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Mount, NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import type { Registry } from "../fixtures/images/registry.ts";
import { runCommand } from "./harness/command.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";
import { execIn, pausePid, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { parentOf, procLink, procText } from "./harness/proc.ts";

/*
 * The sockets of podrt are as good as root (CVE-2020-15257, CVE-2024-25621): they have names in directories that are
 * root's alone, whatever umask the daemon was started with, and nothing of them is in a network namespace.
 */

let registry: Registry;
let daemon: Daemon;
let sandboxId: string;
let hostId: string;

const hostNetwork = {
  securityContext: { namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER } },
} as never;

beforeAll(async () => {
  registry = await startImageRegistry();
  const mask = process.umask(0);
  try {
    daemon = await startDaemon({ mirror: registry.host });
  } finally {
    process.umask(mask);
  }
  // So that only podrt's own modes count.
  chmodSync(daemon.root, 0o755);
  sandboxId = await runSandbox(daemon, "host-network", { linux: hostNetwork });
  hostId = await runContainer(daemon, sandboxId, { name: "attacker", linux: hostNetwork });
  await runContainer(daemon, await runSandbox(daemon, "other"), { name: "app", tty: true, stdin: true });
}, 60_000);

afterAll(async () => {
  try {
    await daemon?.close();
  } finally {
    await registry[Symbol.asyncDispose]();
  }
});

test("under a umask of 0 nobody but root gets into podrt's directories, and nothing in them is for all to write", () => {
  for (const top of ["run", "lib"])
    expect(`${top} ${(lstatSync(join(daemon.root, top)).mode & 0o077).toString(8)}`).toBe(`${top} 0`);
  const isContent = (path: string) =>
    /^lib\/(layers|containers)\/[^/]+\//.test(path) || /\/(shm|netns)$/.test(path);
  const loose = ["run", "lib"]
    .flatMap((top) =>
      readdirSync(join(daemon.root, top), { recursive: true, encoding: "utf8" }).map((name) =>
        join(top, name),
      ),
    )
    .filter((path) => !isContent(path) && !path.includes("/shm/"))
    .map((path) => ({ path, stat: lstatSync(join(daemon.root, path)) }))
    .filter(({ stat }) => !stat.isSymbolicLink() && (stat.mode & 0o022) !== 0);
  expect(loose.map(({ path, stat }) => `${path} ${(stat.mode & 0o7777).toString(8)}`)).toEqual([]);
  const pods = readdirSync(join(daemon.root, "run/pods")).map((id) => `run/pods/${id}`);
  expect(pods.length).toBeGreaterThan(1);
  const secret = [
    "run/podrt.sock",
    ...pods,
    ...pods.flatMap((pod) => [`${pod}/monitor.sock`, `${pod}/journal`]),
  ];
  const modes = secret.map(
    (path) => `${path} ${(lstatSync(join(daemon.root, path)).mode & 0o077).toString(8)}`,
  );
  expect(modes.filter((line) => !line.endsWith(" 0"))).toEqual([]);
});

test("a user of the machine who is not root gets no answer", async () => {
  for (const socket of [
    daemon.socket,
    ...readdirSync(join(daemon.root, "run/pods")).map((id) =>
      join(daemon.root, "run/pods", id, "monitor.sock"),
    ),
  ]) {
    const asRoot = await runCommand("curl", ["-s", "--unix-socket", socket, "http://localhost/"]);
    const asUser = await runCommand("setpriv", [
      "--reuid=1000",
      "--regid=1000",
      "--clear-groups",
      "curl",
      "-sS",
      "--unix-socket",
      socket,
      "http://localhost/",
    ]);
    if (socket === daemon.socket) expect(asRoot.code).toBe(0);
    expect([asUser.code, asUser.stderr]).toEqual([7, expect.stringMatching(/connect|denied/)]);
  }
});

test("no socket of the daemon, a monitor or a pause is abstract, or on a network but the pods' own", async () => {
  const pauses = await Promise.all(
    (await daemon.api.listPodSandbox({})).items.map(({ id }) => pausePid(daemon, id)),
  );
  const processes = [daemon.pid(), ...pauses, ...pauses.map(parentOf)];
  expect(processes.length).toBeGreaterThan(3);
  const inodes = new Set(
    processes.flatMap((pid) =>
      readdirSync(`/proc/${pid}/fd`).flatMap(
        (fd) => /^socket:\[(\d+)\]$/.exec(procLink(`/proc/${pid}/fd/${fd}`))?.[1] ?? [],
      ),
    ),
  );
  const unix = procText("/proc/net/unix")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => inodes.has(fields[6] ?? ""));
  expect(unix.length).toBeGreaterThan(2);
  for (const [, , , , , , , path = ""] of unix) expect(path === "" || path.startsWith("/")).toBe(true);
  const tables = ["tcp", "tcp6", "udp", "udp6", "raw", "packet"];
  const listening = tables.flatMap((table) =>
    procText(`/proc/net/${table}`)
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => inodes.has(fields[9] ?? "") && (fields[3] === "0A" || !table.startsWith("tcp")))
      .map(([, address]) => `${table} ${address}`),
  );
  // Loopback, as /proc writes it: what the streaming server would listen on; and the name server's port 53, at the first
  // address of the pods' own subnet.
  const allowed = / (0100007F:|00000000000000000000000001000000:|01[0-9A-F]{4}0A:0035$)/;
  expect(listening.filter((line) => !allowed.test(line))).toEqual([]);
});

test("a pod on the host's network sees their names and reaches none of them", async () => {
  const seen = await shellIn(daemon, hostId, "cat /proc/net/unix");
  const paths = seen.split("\n").flatMap((line) => line.trim().split(/\s+/)[7] ?? []);
  expect(paths.some((path) => path.startsWith(daemon.root))).toBe(true);
  expect(paths.filter((path) => path.startsWith("@") && path.includes("podrt"))).toEqual([]);
  for (const path of paths.filter((path) => path.startsWith(daemon.root))) {
    expect((await execIn(daemon, hostId, "test", "-e", path)).code).toBe(1);
  }
});

test("a user in a pod that has podrt's own directory mounted cannot enter it", async () => {
  const mounts = [{ hostPath: join(daemon.root, "run"), containerPath: "/run-of-podrt" } as Mount];
  const securityContext = { namespaceOptions: { pid: NamespaceMode.CONTAINER }, runAsUser: { value: 1000n } };
  const id = await runContainer(daemon, await runSandbox(daemon, "mounted"), {
    name: "user",
    mounts,
    linux: { securityContext } as never,
  });
  expect((await execIn(daemon, id, "ls", "/run-of-podrt")).stderr).toContain("Permission denied");
});

test("a streaming URL is on loopback, good once, and no other opens anything, from a host-network pod either", async () => {
  const ask = async () => {
    const request = { containerId: hostId, cmd: ["touch", "/by-stream"], stdout: true };
    return new URL((await daemon.api.exec(request)).url);
  };
  const status = async (url: string, init: RequestInit = {}) => {
    const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(10_000) });
    await answer.arrayBuffer();
    return answer.status;
  };
  const url = await ask();
  expect(url.hostname).toBe("127.0.0.1");
  const [, kind, token = ""] = url.pathname.split("/");
  const upgrade = { headers: { connection: "Upgrade", upgrade: "SPDY/3.1" } };
  const guesses = [
    "/",
    `/${kind}/`,
    `/${kind}/${"A".repeat(token.length)}`,
    `/${kind}/${token.slice(0, -1)}`,
    `/${kind}/${token}%00`,
    `/${kind}/x/../${token}A`,
  ];
  for (const guess of guesses) {
    expect(await status(`${url.origin}${guess}`)).toBe(404);
    expect(await status(`${url.origin}${guess}`, upgrade)).toBe(404);
    const inPod = await execIn(daemon, hostId, "wget", "-q", "-O", "-", `${url.origin}${guess}`);
    expect(inPod.stderr).toContain("404");
  }
  // The first use is refused for want of an upgrade, and was the only one; for another kind of stream likewise.
  expect(await status(url.href)).not.toBe(404);
  expect(await status(url.href)).toBe(404);
  const other = await ask();
  expect(await status(other.href.replace("/exec/", "/attach/"))).toBe(404);
  expect(await status(other.href)).toBe(404);
  expect((await execIn(daemon, hostId, "test", "-e", "/by-stream")).code).toBe(1);
});
