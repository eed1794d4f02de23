// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ContainerState, type Mount } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import { mountAt, mountNew, mountsOf } from "./harness/host-mounts.ts";
import {
  type ContainerConfig,
  containerPid,
  containerStatus,
  createContainer,
  ensureImage,
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";
import { parentOf, procLink } from "./harness/proc.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";

const linkedPlaces = { image: "registry.k8s.io/podrt/linked-places" };

const fixture = useDaemon();
let sandboxId: string;
let dir: string;

beforeAll(async () => {
  dir = join(fixture.daemon.root, "host");
  mkdirSync(join(dir, "data"), { recursive: true });
  writeFileSync(join(dir, "data/file"), "from the host\n");
  sandboxId = await runSandbox(fixture.daemon, "places");
});

type Places = Readonly<Record<string, string>>;

/** Mounts from path in the container to path on the host. */
function mountsTo(places: Places): Mount[] {
  return Object.entries(places).map(([containerPath, hostPath]) => ({ containerPath, hostPath }) as Mount);
}

function run(name: string, places: Places, more: ContainerConfig = {}): Promise<string> {
  return runContainer(fixture.daemon, sandboxId, { name, mounts: mountsTo(places), ...more });
}

test("a destination is what its links lead to inside the container, and never leads out of it", async () => {
  const { daemon } = fixture;
  const data = join(dir, "data");
  const id = await run(
    "links",
    { "/to-directory/below": data, "/to-outside": data },
    { image: linkedPlaces },
  );
  expect(await shellIn(daemon, id, "cat /srv/real/below/file /srv/climbed/file")).toBe(
    "from the host\nfrom the host",
  );
  expect(existsSync("/srv/climbed")).toBe(false);
  const pid = await containerPid(daemon, id);
  expect(mountsOf(pid).map(({ path }) => path)).toEqual(
    expect.arrayContaining(["/srv/real/below", "/srv/climbed"]),
  );
});

test("what is missing of a source is made as a directory, of a destination as what the source is", async () => {
  const { daemon } = fixture;
  const id = await run("missing", {
    "/new/directory": join(dir, "not/yet/there"),
    "/new/file": join(dir, "data/file"),
  });
  expect(statSync(join(dir, "not/yet/there")).mode & 0o7777).toBe(0o755);
  expect(await shellIn(daemon, id, "stat -c '%F %a' /new /new/directory; cat /new/file")).toBe(
    "directory 755\ndirectory 755\nfrom the host",
  );
});

test("a source that cannot be made, and a link to nothing, are refused with the field", async () => {
  const { daemon } = fixture;
  symlinkSync("/nowhere/at/all", join(dir, "dangling"));
  for (const [source, cause] of [
    [join(dir, "data/file/below"), "ENOTDIR"],
    [join(dir, "dangling"), "cannot make directory"],
  ]) {
    const creation = createContainer(daemon, sandboxId, { name: "bad", mounts: mountsTo({ "/x": source! }) });
    await expect(creation).rejects.toThrow(new RegExp(`config.mounts\\[0\\].host_path: .*${cause}`));
  }
});

test("a directory on a file, and a file on a directory, end the start with a sentence", async () => {
  const { daemon } = fixture;
  const [directory, file] = [join(dir, "data"), join(dir, "data/file")];
  for (const [name, places, step] of [
    ["on-file", { "/etc/passwd": directory }, `mount directory ${directory} on /etc/passwd`],
    ["on-directory", { "/etc": file }, `mount file ${file} on /etc`],
  ] as const) {
    const id = await createContainer(daemon, sandboxId, { name, mounts: mountsTo(places) });
    await expect(daemon.api.startContainer({ containerId: id })).rejects.toThrow(`${name}: ${step}: EINVAL`);
    expect((await containerStatus(daemon, id)).state).toBe(ContainerState.CONTAINER_EXITED);
  }
});

test("nothing may be mounted on /proc but a proc file system, by its name or by a link", async () => {
  const { daemon } = fixture;
  const mounts = mountsTo({ "/proc": join(dir, "data") });
  await expect(createContainer(daemon, sandboxId, { name: "proc", mounts })).rejects.toThrow(
    `config.mounts[0].host_path: ${join(dir, "data")} is no proc file system`,
  );
  for (const [place, error] of [
    ["/to-proc", /open \/proc, which may be neither a link nor another mount's destination: EXDEV/],
    ["/to-sysctl", /open \/to-sysctl: ENOENT/],
  ] as const) {
    const id = await createContainer(daemon, sandboxId, {
      name: `proc-by${place.replace("/", "-")}`,
      image: linkedPlaces,
      mounts: mountsTo({ [place]: join(dir, "data") }),
    });
    await expect(daemon.api.startContainer({ containerId: id })).rejects.toThrow(error);
  }
  const odd = await createContainer(daemon, sandboxId, {
    name: "linked-proc",
    image: { image: "registry.k8s.io/podrt/linked-proc" },
  });
  await expect(daemon.api.startContainer({ containerId: odd })).rejects.toThrow(/open \/proc, .*: ELOOP/);

  const host = await run("proc-of-host", { "/proc": "/proc" });
  expect(await shellIn(daemon, host, "cat /proc/1/comm")).toBe(readFileSync("/proc/1/comm", "utf8").trim());
});

test("files of /proc that only tell of the machine can be replaced", async () => {
  const { daemon } = fixture;
  writeFileSync(join(dir, "uptime"), "1.00 1.00\n");
  const id = await run("uptime", { "/proc/uptime": join(dir, "uptime") });
  expect(await shellIn(daemon, id, "cat /proc/uptime; cat /proc/self/comm")).toBe("1.00 1.00\ncat");
});

test("a directory of the caller's on /dev is left as it is, and is all there is", async () => {
  const { daemon } = fixture;
  const devices = join(dir, "dev");
  mkdirSync(join(devices, "sub"), { recursive: true });
  writeFileSync(join(devices, "file"), "");
  const id = await run(
    "dev",
    { "/dev": devices },
    {
      tty: true,
      devices: [{ hostPath: "/dev/full", containerPath: "/dev/full", permissions: "rwm" } as never],
    },
  );
  expect(await shellIn(daemon, id, "ls /dev")).toBe("file\nsub");
  expect(readdirSync(devices).sort()).toEqual(["file", "sub"]);
  const below = mountsOf(await containerPid(daemon, id)).filter(({ path }) => path.startsWith("/dev/"));
  expect(below).toEqual([]);
});

test("a mount of the caller's takes the place of a built-in one, however its path is spelled", async () => {
  const { daemon } = fixture;
  const sources = ["shm", "hosts-file", "cgroup", "sys/fs/cgroup"].map((name) => join(dir, "own", name));
  for (const source of sources) mkdirSync(source, { recursive: true });
  writeFileSync(join(dir, "own/hosts"), "192.0.2.1 own\n");
  writeFileSync(join(dir, "own/cgroup/mine"), "");
  const id = await run("built-in", {
    "//dev/./shm/": join(dir, "own/shm"),
    "/etc//hosts": join(dir, "own/hosts"),
    "/sys/fs/cgroup": join(dir, "own/cgroup"),
  });
  expect(await shellIn(daemon, id, "cat /etc/hosts; ls /sys/fs/cgroup; touch /dev/shm/seen")).toBe(
    "192.0.2.1 own\nmine",
  );
  expect(readdirSync(join(dir, "own/shm"))).toEqual(["seen"]);
  expect(readdirSync(join(dir, "own/cgroup"))).toEqual(["mine"]);
  const pid = await containerPid(daemon, id);
  for (const path of ["/dev/shm", "/etc/hosts", "/sys/fs/cgroup"]) {
    expect(
      mountsOf(pid).filter((mount) => mount.path === path || mount.path.startsWith(`${path}/`)),
    ).toHaveLength(1);
  }
  const sys = await run("sys", { "/sys": join(dir, "own/sys") });
  expect(await shellIn(daemon, sys, "ls /sys")).toBe("fs");
});

test("a volume of the image's below a mount of the caller's is not there", async () => {
  const { daemon } = fixture;
  mkdirSync(join(dir, "covering"));
  const id = await run(
    "covering",
    { "/scratch": join(dir, "covering") },
    { image: { image: "registry.k8s.io/podrt/volumes" } },
  );
  await shellIn(daemon, id, "touch /scratch/seen; cat /data/seed");
  expect(readdirSync(join(dir, "covering"))).toEqual(["seen"]);
});

test("file systems of the host's are bound with what they are: tmpfs and huge pages", async () => {
  const { daemon } = fixture;
  await using memory = await mountNew("tmpfs", join(dir, "memory"), "size=1m");
  await using huge = await mountNew("hugetlbfs", join(dir, "huge"), "pagesize=2M");
  const id = await run("file-systems", { "/memory": memory.path, "/dev/hugepages": huge.path });
  const pid = await containerPid(daemon, id);
  expect(mountAt(pid, "/memory").type).toBe("tmpfs");
  expect(mountAt(pid, "/dev/hugepages").type).toBe("hugetlbfs");
  expect(await shellIn(daemon, id, "stat -f -c '%T %s' /dev/hugepages")).toContain("2097152");
  const full = await execIn(daemon, id, "dd", "if=/dev/zero", "of=/memory/file", "bs=64k", "count=32");
  expect(full.stderr).toContain("No space left on device");
  expect(statSync(join(memory.path, "file")).size).toBe(1024 * 1024);
});

test("more mounts than one request to the monitor has room for are all there, each with its own content", async () => {
  const { daemon } = fixture;
  mkdirSync(join(dir, "many"));
  const numbers = Array.from({ length: 300 }, (_, index) => index);
  const places = numbers.map((number) => {
    const path = join(dir, "many", `${number}`);
    writeFileSync(path, `content of ${number}\n`);
    return [`/many/${number}`, path] as const;
  });
  const before = readdirSync(`/proc/${daemon.pid()}/fd`).length;
  const id = await run("many", Object.fromEntries(places));
  expect(await shellIn(daemon, id, `cat ${places.map(([place]) => place).join(" ")}`)).toBe(
    numbers.map((number) => `content of ${number}`).join("\n"),
  );
  expect(await shellIn(daemon, id, "echo $(ls /proc/1/fd)")).toBe("0 1 2");
  await daemon.api.removeContainer({ containerId: id });
  // Neither the daemon nor the pod's monitor keeps any of them.
  expect(readdirSync(`/proc/${daemon.pid()}/fd`).length).toBeLessThan(before + 100);
  const monitor = parentOf(await pausePid(daemon, sandboxId));
  const kept = readdirSync(`/proc/${monitor}/fd`).map((fd) => procLink(`/proc/${monitor}/fd/${fd}`));
  expect(kept.filter((target) => target.startsWith("socket:"))).toHaveLength(1);
});

test("in a user namespace too mounts wait their turn, read-only to their depth, beside parts of images", async () => {
  const { daemon } = fixture;
  await using top = await mountNew("tmpfs", join(dir, "mapped"));
  await using below = await mountNew("tmpfs", join(top.path, "below"));
  writeFileSync(join(below.path, "seen"), "below\n");
  mkdirSync(join(dir, "mapped-many"));
  const places = Array.from({ length: 100 }, (_, number) => {
    const path = join(dir, "mapped-many", `${number}`);
    writeFileSync(path, `${number}\n`);
    return [`/many/${number}`, path] as const;
  });
  const image = "registry.k8s.io/podrt/volume-content";
  await ensureImage(daemon, image);
  const pod = await runMappedSandbox(daemon, "mapped");
  const id = await runMapped(daemon, pod, {
    name: "mapped",
    mounts: [
      ...mountsTo(Object.fromEntries(places)),
      { hostPath: top.path, containerPath: "/top", readonly: true, recursiveReadOnly: true } as Mount,
      { image: { image }, containerPath: "/part", readonly: true, imageSubPath: "relative" } as Mount,
    ],
  });
  expect(await shellIn(daemon, id, "cat /many/0 /many/99 /top/below/seen /part/er/data")).toBe(
    "0\n99\nbelow\ndeeper",
  );
  const pid = await containerPid(daemon, id);
  for (const path of ["/top", "/top/below", "/part"]) expect(mountAt(pid, path).options).toContain("ro");
  expect(mountsOf(pid).filter(({ path }) => path.startsWith("/many/"))).toHaveLength(100);
});
