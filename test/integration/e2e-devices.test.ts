// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  type ContainerConfig,
  createContainer,
  execIn,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";

/** Devices that no container has of itself and that opening does nothing to: the first one that is here. */
const device = ["/dev/fuse", "/dev/loop-control", "/dev/kmsg", "/dev/loop0"].find((path) =>
  existsSync(path),
)!;

const fixture = useDaemon();
let sandboxId: string;
let dir: string;
let numbers: { major: number; minor: number };

beforeAll(async () => {
  dir = join(fixture.daemon.root, "host");
  mkdirSync(dir);
  const { rdev } = statSync(device);
  numbers = { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) };
  sandboxId = await runSandbox(fixture.daemon, "devices");
});

type Asked = readonly [hostPath: string, containerPath: string, permissions: string];

function withDevices(name: string, ...asked: readonly Asked[]): ContainerConfig & { name: string } {
  const devices = asked.map(([hostPath, containerPath, permissions]) => ({
    hostPath,
    containerPath,
    permissions,
  }));
  return { name, devices } as ContainerConfig & { name: string };
}

function run(name: string, ...asked: readonly Asked[]): Promise<string> {
  return runContainer(fixture.daemon, sandboxId, withDevices(name, ...asked));
}

/** Which ways of opening `path` the kernel allows a process of the container. */
async function opens(id: string, path: string): Promise<string> {
  const ways = [
    ["r", `: < ${path}`],
    ["w", `: > ${path}`],
    ["b", `: <> ${path}`],
  ] as const;
  const results = ways.map(async ([letter, line]) => {
    const { code, stderr } = await execIn(fixture.daemon, id, "sh", "-c", line);
    if (code !== 0) expect(stderr).toContain("Operation not permitted");
    return code === 0 ? letter : "";
  });
  return (await Promise.all(results)).join("");
}

test.each([
  ["r", "r"],
  ["w", "w"],
  ["rw", "rwb"],
  ["rwm", "rwb"],
  ["m", ""],
])("permissions %s let the device be opened in these ways: %s", async (permissions, ways) => {
  const id = await run(`permissions-${permissions}`, [device, "/dev/other", permissions]);
  expect(await opens(id, "/dev/other")).toBe(ways);
});

test("the node has the numbers, the mode and the owner of the host's, at the path that was asked for", async () => {
  const { daemon } = fixture;
  await outputOf("mknod", ["-m", "640", join(dir, "node"), "c", "1", "3"]);
  await outputOf("chown", ["1000:33", join(dir, "node")]);
  const id = await run("node", [join(dir, "node"), "/opt/deep/node", "rw"], [device, "/dev/same", "r"]);
  const format = "'%F %t:%T %a %u:%g'";
  expect(await shellIn(daemon, id, `stat -c ${format} /opt/deep/node`)).toBe(
    "character special file 1:3 640 1000:33",
  );
  const { major, minor } = numbers;
  expect(await shellIn(daemon, id, "stat -c '%t:%T' /dev/same")).toBe(
    `${major.toString(16)}:${minor.toString(16)}`,
  );
});

test("a device that was not asked for stays closed, though its node can be made", async () => {
  const { daemon } = fixture;
  const id = await run("without");
  await shellIn(daemon, id, `mknod /tmp/node c ${numbers.major} ${numbers.minor}`);
  expect(await opens(id, "/tmp/node")).toBe("");
});

test("a link is followed, and a directory stands for the devices below it", async () => {
  const { daemon } = fixture;
  mkdirSync(join(dir, "many/more"), { recursive: true });
  for (const [path, minor] of [
    ["many/one", "3"],
    ["many/more/two", "5"],
  ]) {
    await outputOf("mknod", [join(dir, path!), "c", "1", minor!]);
  }
  writeFileSync(join(dir, "many/no-device"), "");
  symlinkSync(device, join(dir, "link"));
  symlinkSync("many", join(dir, "link-to-directory"));
  const id = await run(
    "links",
    [join(dir, "link"), "/dev/linked", "r"],
    [join(dir, "link-to-directory"), "/dev/group", "rw"],
  );
  expect(await opens(id, "/dev/linked")).toBe("r");
  expect(await shellIn(daemon, id, "find /dev/group | sort")).toBe(
    "/dev/group\n/dev/group/more\n/dev/group/more/two\n/dev/group/one",
  );
  expect(await shellIn(daemon, id, "stat -c '%t:%T' /dev/group/one /dev/group/more/two")).toBe("1:3\n1:5");
});

test("what is missing, or is no device, is refused with the field and nothing is made", async () => {
  const { daemon } = fixture;
  mkdirSync(join(dir, "empty"));
  writeFileSync(join(dir, "file"), "");
  for (const [source, problem] of [
    [join(dir, "absent"), /config\.devices\[0\]\.host_path: cannot use .*absent: ENOENT/],
    [join(dir, "file"), /config\.devices\[0\]\.host_path: .*file is no device/],
    [join(dir, "empty"), /config\.devices\[0\]\.host_path: .*empty is no device/],
  ] as const) {
    const creation = createContainer(daemon, sandboxId, withDevices("refused", [source, "/dev/x", "r"]));
    await expect(creation).rejects.toThrow(problem);
  }
  const { containers } = await daemon.api.listContainers({});
  expect(containers.filter(({ metadata }) => metadata?.name === "refused")).toEqual([]);
});

test("a privileged container has the host's devices, open", async () => {
  const { daemon } = fixture;
  const security = { privileged: true, namespaceOptions: { pid: NamespaceMode.CONTAINER } };
  const pod = await runSandbox(daemon, "privileged", { linux: { securityContext: security } });
  const id = await runContainer(daemon, pod, { name: "all", linux: { securityContext: security } });
  expect(await opens(id, device)).toBe("rwb");
});
