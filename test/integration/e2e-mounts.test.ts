// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MountPropagation } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";
import { containerStatus, execIn, runContainer, runSandbox, secured, shellIn } from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const fixture = useDaemon();
let sandboxId: string;
let dir: string;

beforeAll(async () => {
  dir = join(fixture.daemon.root, "host");
  mkdirSync(join(dir, "data"), { recursive: true });
  writeFileSync(join(dir, "data/file"), "from the host\n");
  sandboxId = await runSandbox(fixture.daemon, "mounts", {
    dnsConfig: { servers: ["10.10.10.10"], searches: ["google.com"], options: ["ndots:8"] },
    hostname: "mounted-host",
  });
});

test("the root is a volatile overlay, for whose end nobody waits until the disk is written", async () => {
  const id = await runContainer(fixture.daemon, sandboxId, { name: "volatile" });
  const root = await shellIn(fixture.daemon, id, "grep ' / ' /proc/self/mounts");
  expect(root).toMatch(/^\S+ \/ overlay .*\bvolatile\b/);
});

test("directories and files of the host are mounted, writable or read-only, and echoed in the status", async () => {
  const { daemon } = fixture;
  symlinkSync("data", join(dir, "link"));
  const id = await runContainer(daemon, sandboxId, {
    name: "binds",
    mounts: [
      { hostPath: join(dir, "data"), containerPath: "/data" },
      { hostPath: join(dir, "data"), containerPath: "/ro", readonly: true },
      { hostPath: join(dir, "data/file"), containerPath: "/etc/one-file", readonly: true },
      { hostPath: join(dir, "link"), containerPath: "/through/link" },
      { hostPath: join(dir, "new"), containerPath: "/new" },
    ],
  });
  expect(await shellIn(daemon, id, "cat /data/file /ro/file /etc/one-file /through/link/file")).toBe(
    Array(4).fill("from the host").join("\n"),
  );
  await shellIn(daemon, id, "echo back > /data/written");
  expect(readFileSync(join(dir, "data/written"), "utf8")).toBe("back\n");
  for (const path of ["/ro/x", "/etc/one-file"]) {
    expect((await execIn(daemon, id, "sh", "-c", `echo x > ${path}`)).stderr).toContain(
      "Read-only file system",
    );
  }
  expect(statSync(join(dir, "new")).isDirectory()).toBe(true);
  const { mounts } = await containerStatus(daemon, id);
  expect(mounts.map(({ containerPath }) => containerPath)).toEqual([
    "/data",
    "/ro",
    "/etc/one-file",
    "/through/link",
    "/new",
  ]);
  expect(mounts[1]).toMatchObject({ hostPath: join(dir, "data"), readonly: true });
});

test("mounts inside mounts appear whatever the order of the request", async () => {
  const { daemon } = fixture;
  mkdirSync(join(dir, "inner"), { recursive: true });
  writeFileSync(join(dir, "inner/deep"), "deep\n");
  mkdirSync(join(dir, "data/nested"), { recursive: true });
  const id = await runContainer(daemon, sandboxId, {
    name: "nested",
    mounts: [
      { hostPath: join(dir, "inner"), containerPath: "/outer/nested" },
      { hostPath: join(dir, "data"), containerPath: "/outer" },
    ],
  });
  expect(await shellIn(daemon, id, "cat /outer/file /outer/nested/deep")).toBe("from the host\ndeep");
});

test("mounts of the host reach a container only with propagation", async () => {
  const { daemon } = fixture;
  const shared = join(dir, "shared");
  mkdirSync(shared, { recursive: true });
  await outputOf("mount", ["--bind", shared, shared]);
  await outputOf("mount", ["--make-shared", shared]);
  try {
    mkdirSync(join(shared, "late"), { recursive: true });
    const mount = (name: string, propagation: MountPropagation) =>
      runContainer(daemon, sandboxId, {
        name,
        mounts: [{ hostPath: shared, containerPath: "/shared", propagation }],
      });
    const alone = await mount("private", MountPropagation.PROPAGATION_PRIVATE);
    const slave = await mount("slave", MountPropagation.PROPAGATION_HOST_TO_CONTAINER);
    await outputOf("mount", ["-t", "tmpfs", "late", join(shared, "late")]);
    writeFileSync(join(shared, "late/seen"), "late\n");
    expect(await shellIn(daemon, slave, "cat /shared/late/seen")).toBe("late");
    expect((await execIn(daemon, alone, "cat", "/shared/late/seen")).code).not.toBe(0);
    for (const containerId of [alone, slave]) await daemon.api.removeContainer({ containerId });
  } finally {
    await outputOf("umount", ["-R", "-l", shared]);
  }
});

test("host name, hosts and resolv.conf are the pod's, and writes to them stay in the pod", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, sandboxId, { name: "files" });
  expect(await shellIn(daemon, id, "cat /etc/resolv.conf")).toBe(
    "search google.com\nnameserver 10.10.10.10\noptions ndots:8",
  );
  expect(await shellIn(daemon, id, "hostname; cat /etc/hostname")).toBe("mounted-host\nmounted-host");
  expect(await shellIn(daemon, id, "cat /etc/hosts")).toContain("localhost");
  const other = await runSandbox(daemon, "plain");
  const plain = await runContainer(daemon, other, { name: "plain" });
  expect(await shellIn(daemon, plain, "cat /etc/resolv.conf")).toBe(
    readFileSync("/etc/resolv.conf", "utf8").trimEnd(),
  );
});

test("/dev/shm is one for the pod and none of the host's", async () => {
  const { daemon } = fixture;
  const first = await runContainer(daemon, sandboxId, { name: "shm-1" });
  const second = await runContainer(daemon, sandboxId, { name: "shm-2" });
  await shellIn(daemon, first, "echo shared > /dev/shm/podrt-test");
  expect(await shellIn(daemon, second, "cat /dev/shm/podrt-test")).toBe("shared");
  expect(existsSync("/dev/shm/podrt-test")).toBe(false);
  expect(await shellIn(daemon, first, "df -m /dev/shm | awk 'END { print $2 }'")).toBe("64");
  expect(await shellIn(daemon, first, "stat -c %a /dev/shm")).toBe("1777");
});

test("proc, sys, cgroup, devpts and mqueue are mounted as usual", async () => {
  const { daemon } = fixture;
  const id = await runContainer(daemon, sandboxId, { name: "usual" });
  const table = new Map(
    (await shellIn(daemon, id, "cat /proc/mounts")).split("\n").map((line) => {
      const [, path, type, options] = line.split(" ") as [string, string, string, string];
      return [path, `${type} ${options.split(",")[0]}`] as const;
    }),
  );
  expect(table.get("/proc")).toBe("proc rw");
  expect(table.get("/sys")).toBe("sysfs ro");
  expect(table.get("/dev")).toBe("tmpfs rw");
  expect(table.get("/dev/pts")).toBe("devpts rw");
  expect(table.get("/dev/mqueue")).toBe("mqueue rw");
  expect([...table].some(([path, type]) => path.startsWith("/sys/fs/cgroup") && type.endsWith("ro"))).toBe(
    true,
  );
  expect(table.get("/")).toBe("overlay rw");
});

test("volumes of an image are directories of the container's own, seeded from the image", async () => {
  const { daemon } = fixture;
  const image = { image: "registry.k8s.io/podrt/volumes" };
  const first = await runContainer(daemon, sandboxId, { name: "volumes-1", image });
  const second = await runContainer(daemon, sandboxId, { name: "volumes-2", image });
  expect(await shellIn(daemon, first, "cat /data/seed; stat -c %u /data/seed; stat -c %a /scratch")).toBe(
    "from the image\n33\n1777",
  );
  await shellIn(daemon, first, "echo changed > /data/seed; echo x > /scratch/x");
  expect(await shellIn(daemon, second, "cat /data/seed; ls /scratch")).toBe("from the image");
  const readonly = await runContainer(daemon, sandboxId, {
    name: "volumes-3",
    image,
    ...secured({ readonlyRootfs: true }),
  });
  await shellIn(daemon, readonly, "echo x > /scratch/x");
});

test("a manifest's emptyDir is shared by the pod's containers, and a hostPath is the host's", async () => {
  const { daemon } = fixture;
  const manifest = `apiVersion: v1
kind: Pod
metadata: {name: volumes}
spec:
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: host, hostPath: {path: ${join(dir, "data")}}}
  containers:
  - name: one
    image: busybox
    command: [sh, -c, "echo hello > /scratch/greeting; exec sleep 3600"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  - name: two
    image: busybox
    command: [sleep, "3600"]
    volumeMounts:
    - {name: scratch, mountPath: /from-one, readOnly: true}
    - {name: host, mountPath: /host}
`;
  expect((await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "-A", "-")).stderr).toBe("");
  const pod = await runningPod(daemon, "volumes");
  const two = pod.containers.find(({ name }) => name === "two")!.containerId;
  expect(await shellIn(daemon, two, "cat /from-one/greeting /host/file")).toBe("hello\nfrom the host");
  expect((await execIn(daemon, two, "sh", "-c", "echo x > /from-one/x")).code).not.toBe(0);
  expect((await daemon.podrt("rm", "-f", "volumes")).code).toBe(0);
  expect(readFileSync(join(dir, "data/file"), "utf8")).toBe("from the host\n");
});

test("no mount of a container is seen on the host", () => {
  const lines = procText("/proc/self/mountinfo").split("\n");
  const containers = lines.filter(
    (line) => line.includes(`${fixture.daemon.root}/`) && line.includes(" - overlay "),
  );
  expect(containers).toEqual([]);
});
