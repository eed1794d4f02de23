// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  type ContainerConfig,
  containerPid,
  containerStatus,
  ensureImage,
  execIn,
  exited,
  runContainer,
  runSandbox,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { statusField } from "./harness/proc.ts";
import { createMapped, firstId, mapping, runMapped, runMappedSandbox } from "./harness/user-namespace.ts";

const fixture = useDaemon();
let sandboxId: string;
let shell: string;
let host: string;

beforeAll(async () => {
  const { daemon } = fixture;
  host = join(daemon.root, "host");
  mkdirSync(host);
  sandboxId = await runMappedSandbox(daemon, "files", {}, { logDirectory: join(daemon.root, "logs") });
  shell = await runMapped(daemon, sandboxId, { name: "shell" });
});

const ownerOf = (path: string) => `${statSync(path).uid}:${statSync(path).gid}`;
const seen = (containerId: string, ...paths: string[]) =>
  shellIn(fixture.daemon, containerId, `stat -c %u:%g ${paths.join(" ")}`);
const repeated = (owner: string, count: number) => Array(count).fill(owner).join("\n");

/** A directory of the host's, root's alone, with a secret in it. */
function privateDirectory(name: string): string {
  const path = join(host, name);
  mkdirSync(path, { mode: 0o755 });
  writeFileSync(join(path, "secret"), "secret\n", { mode: 0o600 });
  return path;
}

test("what the image has of root is root's inside, and what is written is the mapped user's outside", async () => {
  const { daemon } = fixture;
  expect(await seen(shell, "/", "/etc", "/etc/passwd", "/bin/busybox")).toBe(repeated("0:0", 4));
  await shellIn(
    daemon,
    shell,
    "touch /made && mkdir /made-too && chown 33:34 /made-too && echo x >> /etc/passwd",
  );
  expect(await seen(shell, "/made", "/made-too", "/etc/passwd")).toBe("0:0\n33:34\n0:0");
  const upper = join(daemon.root, "lib/containers", shell, "upper");
  expect(ownerOf(upper)).toBe(`${firstId}:${firstId}`);
  expect(ownerOf(join(upper, "made"))).toBe(`${firstId}:${firstId}`);
  expect(ownerOf(join(upper, "made-too"))).toBe(`${firstId + 33}:${firstId + 34}`);
  // Copied up from a layer, where it is the host's root's.
  expect(ownerOf(join(upper, "etc/passwd"))).toBe(`${firstId}:${firstId}`);
});

test("files and file systems that podrt adds are root's", async () => {
  const paths = [
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/dev",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/pts",
  ];
  expect(await seen(shell, ...paths)).toBe(repeated("0:0", paths.length));
  await shellIn(
    fixture.daemon,
    shell,
    "echo '127.0.0.9 nine' >> /etc/hosts && touch /dev/shm/x /dev/mqueue/x",
  );
  const beside = await runMapped(fixture.daemon, sandboxId, { name: "beside" });
  expect(await seen(beside, "/dev/shm/x")).toBe("0:0");
  expect(await shellIn(fixture.daemon, beside, "grep -c nine /etc/hosts")).toBe("1");
});

test("the volumes of an image keep their owners and are writable in a read-only root", async () => {
  const { daemon } = fixture;
  const image = { image: "docker.io/podrt/volumes" };
  const security = { readonlyRootfs: true };
  const id = await runMapped(daemon, sandboxId, { name: "volumes", image, security });
  expect(await seen(id, "/data/seed")).toBe("33:33");
  await shellIn(daemon, id, "echo x > /data/new && echo x > /scratch/new && echo x > /dev/shm/new");
  expect((await execIn(daemon, id, "touch", "/etc/new")).stderr).toContain("Read-only file system");
  expect((await execIn(daemon, id, "touch", "/etc/hosts")).stderr).toContain("Read-only file system");
});

test("the files of an image volume have the image's owners, in all of it and in a part", async () => {
  const { daemon } = fixture;
  const image = "docker.io/podrt/volumes:latest";
  await ensureImage(daemon, image);
  const volume = { image: { image }, readonly: true };
  const mounts = [
    { ...volume, containerPath: "/image" },
    { ...volume, containerPath: "/part", imageSubPath: "data" },
  ] as ContainerConfig["mounts"] & object;
  const id = await runMapped(daemon, sandboxId, { name: "image-volume", mounts });
  expect(await seen(id, "/image/etc", "/image/data/seed", "/part/seed")).toBe("0:0\n33:33\n33:33");
  expect(await shellIn(daemon, id, "cat /image/bin/busybox | wc -c; cat /part/seed")).toMatch(
    /^\d{5,}\nfrom the image$/,
  );
  expect((await execIn(daemon, id, "touch", "/image/x")).stderr).toContain("Read-only file system");
});

test("a mapping of one id is enough for a shell, a terminal and the usual files", async () => {
  const { daemon } = fixture;
  const one = [{ containerId: 0, hostId: 77_777, length: 1 }];
  const namespaceOptions = {
    pid: NamespaceMode.CONTAINER,
    usernsOptions: { mode: NamespaceMode.POD, uids: one, gids: one },
  };
  const linux = { securityContext: { namespaceOptions } };
  const pod = await runSandbox(daemon, "one-id", { linux });
  for (const tty of [false, true]) {
    const id = await runContainer(daemon, pod, { name: `tty-${tty}`, tty, linux });
    expect(statusField(await containerPid(daemon, id), "Uid")).toBe(Array(4).fill("77777").join("\t"));
    expect(await seen(id, "/etc/passwd", "/etc/hosts", "/dev/null", "/dev/pts")).toBe(repeated("0:0", 4));
    expect((await daemon.podrt("exec", "-t", id, "--", "sh", "-c", "stat -c %u:%g $(tty)")).stdout).toBe(
      "0:0\r\n",
    );
  }
});

test("devices can be used, wherever they were asked for, and none can be made", async () => {
  const { daemon } = fixture;
  const id = await runMapped(daemon, sandboxId, {
    name: "devices",
    devices: [
      { hostPath: "/dev/zero", containerPath: "/dev/deep/zero", permissions: "rw" },
      { hostPath: "/dev/full", containerPath: "/opt/full", permissions: "rw" },
    ],
  });
  const line =
    "head -c 3 /dev/urandom | wc -c; echo x > /dev/null; head -c 5 /dev/deep/zero | wc -c; ls -A /dev/.podrt";
  expect((await execIn(daemon, id, "sh", "-c", line)).stdout).toBe("3\n5\n");
  const full = await execIn(daemon, id, "sh", "-c", "echo x > /opt/full");
  expect(full.stderr).toContain("No space left on device");
  expect(await seen(id, "/dev/null", "/dev/deep/zero", "/opt/full")).toBe(repeated("0:0", 3));
  const security = { capabilities: { addCapabilities: ["ALL"] } };
  const capable = await runMapped(daemon, sandboxId, { name: "no-mknod", security });
  expect((await execIn(daemon, capable, "mknod", "/tmp/null", "c", "1", "3")).stderr).toContain(
    "not permitted",
  );
});

test("paths are masked and read-only as they are without a user namespace", async () => {
  const { daemon } = fixture;
  const security = {
    maskedPaths: ["/proc/timer_list", "/proc/acpi", "/sys/firmware", "/nowhere"],
    readonlyPaths: ["/proc/sys", "/proc/bus"],
    capabilities: { addCapabilities: ["NET_ADMIN"] },
  };
  const id = await runMapped(daemon, sandboxId, { name: "masked", security });
  expect(await shellIn(daemon, id, "cat /proc/timer_list; ls -A /sys/firmware")).toBe("");
  const write = await execIn(daemon, id, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
  expect(write.stderr).toContain("Read-only file system");
});

test("a terminal belongs to the container's user, in the container and in an exec", async () => {
  const { daemon } = fixture;
  const security = { runAsUser: { value: 1002n } };
  const command = ["sh", "-c", "stat -c %u:%g $(tty); echo again > $(tty); sleep 3600"];
  const config = { name: "terminal", tty: true, command, logPath: "terminal.log", security };
  const id = await runMapped(daemon, sandboxId, config);
  const script = "stat -c %u:%g $(tty); stat -c %u:%g /dev/console; echo again > $(tty)";
  const { stdout, code } = await daemon.podrt("exec", "-t", id, "--", "sh", "-c", script);
  expect({ stdout, code }).toEqual({ stdout: "1002:5\r\n1002:5\r\nagain\r\n", code: 0 });
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  const log = readFileSync(join(daemon.root, "logs/terminal.log"), "utf8");
  expect(log.replace(/^\S+ /gm, "").replaceAll("\r", "")).toBe("stdout F 1002:5\nstdout F again\n");
});

test("a user may open /dev/stdout, in a user namespace and without one", async () => {
  const { daemon } = fixture;
  const plain = await runSandbox(daemon, "plain", { logDirectory: join(daemon.root, "logs") });
  const command = ["sh", "-c", "echo said > /dev/stdout; echo said >> /dev/stderr"];
  const security = { runAsUser: { value: 1002n } };
  const config = { name: "stdout", command };
  const ids = [
    await runMapped(daemon, sandboxId, { ...config, logPath: "mapped.log", security }),
    await runContainer(daemon, plain, { ...config, logPath: "plain.log", ...secured(security) }),
  ];
  for (const id of ids) expect((await exited(daemon, id)).exitCode).toBe(0);
  for (const name of ["mapped", "plain"]) {
    const log = readFileSync(join(daemon.root, `logs/${name}.log`), "utf8");
    expect(log.replace(/^\S+ /gm, "").split("\n").sort()).toEqual(["", "stderr F said", "stdout F said"]);
  }
  expect((await execIn(daemon, shell, "sh", "-c", "echo said > /dev/stdout")).stdout).toBe("said\n");
});

test("a bind shows the host's owners as nobody, and root inside is nobody to them", async () => {
  const { daemon } = fixture;
  const hostPath = privateDirectory("plain");
  const mounts = [{ hostPath, containerPath: "/data" }];
  const security = { capabilities: { addCapabilities: ["ALL"] } };
  const id = await runMapped(daemon, sandboxId, { name: "plain-bind", mounts, security });
  expect(await seen(id, "/data", "/data/secret")).toBe(repeated("65534:65534", 2));
  for (const line of [
    "cat /data/secret",
    "touch /data/new",
    "chown 0:0 /data/secret",
    "rm -f /data/secret",
  ]) {
    const { code, stderr } = await execIn(daemon, id, "sh", "-c", line);
    expect([line, code]).toEqual([line, 1]);
    expect(stderr).toMatch(/denied|not permitted/);
  }
  chmodSync(hostPath, 0o777);
  await shellIn(daemon, id, "touch /data/new");
  expect(ownerOf(join(hostPath, "new"))).toBe(`${firstId}:${firstId}`);
});

test("an idmapped bind shows the host's owners by their numbers, and keeps them in what is written", async () => {
  const { daemon } = fixture;
  const hostPath = privateDirectory("mapped");
  chownSync(join(hostPath, "secret"), 33, 34);
  const mounts = [
    { hostPath, containerPath: "/data", uidMappings: mapping, gidMappings: mapping },
    { hostPath, containerPath: "/ro", readonly: true, uidMappings: mapping, gidMappings: mapping },
  ];
  const id = await runMapped(daemon, sandboxId, { name: "mapped-bind", mounts });
  expect(await seen(id, "/data", "/data/secret", "/ro/secret")).toBe("0:0\n33:34\n33:34");
  expect((await containerStatus(daemon, id)).mounts[0]).toMatchObject({ ...mounts[0] });
  await shellIn(daemon, id, "touch /data/root /data/user && chown 1002:1003 /data/user");
  expect(ownerOf(join(hostPath, "root"))).toBe("0:0");
  expect(ownerOf(join(hostPath, "user"))).toBe("1002:1003");
  expect((await execIn(daemon, id, "touch", "/ro/x")).stderr).toContain("Read-only file system");
});

test("a bind may be idmapped otherwise than the pod, and in a pod without a user namespace", async () => {
  const { daemon } = fixture;
  const hostPath = privateDirectory("otherwise");
  const uidMappings = [
    { containerId: 0, hostId: firstId + 7, length: 1 },
    { containerId: 1, hostId: firstId + 20, length: 2 },
  ];
  const mounts = [{ hostPath, containerPath: "/data", uidMappings, gidMappings: mapping }];
  const other = await runMapped(daemon, sandboxId, { name: "other-mapping", mounts });
  expect(await seen(other, "/data")).toBe("7:0");
  const plain = await runSandbox(daemon, "plain-mapped");
  const id = await runContainer(daemon, plain, { name: "mapped", mounts });
  expect(await seen(id, "/data")).toBe(`${firstId + 7}:${firstId}`);
  expect(statusField(await containerPid(daemon, id), "Uid")).toStartWith("0\t");
});

test("a file system that cannot be idmapped is refused, with the mount's name", async () => {
  const { daemon } = fixture;
  const mounts = [{ hostPath: "/sys", containerPath: "/mine", uidMappings: mapping, gidMappings: mapping }];
  const create = createMapped(daemon, sandboxId, { name: "sysfs", mounts });
  expect(create).rejects.toThrow(
    /failed_precondition.*cannot mount \/sys on \/mine with mapped ids: its file system \(sysfs\) does not support/,
  );
  await create.catch(() => {});
});
