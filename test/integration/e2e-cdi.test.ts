// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { useDaemon } from "./harness/fixture.ts";
import { mountAt } from "./harness/host-mounts.ts";
import {
  type ContainerConfig,
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  runContainer,
  runSandbox,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

/** A device that no container has of itself and that opening does nothing to: the first one that is here. */
const device = ["/dev/fuse", "/dev/loop-control", "/dev/kmsg", "/dev/loop0"].find((path) =>
  existsSync(path),
)!;

const dir = mkdtempSync(join(tmpdir(), "podrt-cdi-"));
const [low, high, host] = ["low", "high", "host"].map((name) => join(dir, name)) as [string, string, string];
const fixture = useDaemon({ config: `[cdi]\nspec_dirs = ${JSON.stringify([low, high])}\n` });
let sandboxId: string;

beforeAll(async () => {
  for (const path of [low, high, host]) mkdirSync(path);
  writeFileSync(join(host, "library"), "a driver's library\n");
  sandboxId = await runSandbox(fixture.daemon, "cdi");
});

beforeEach(() => {
  for (const path of [low, high]) {
    rmSync(path, { recursive: true });
    mkdirSync(path);
  }
});

afterAll(() => rmSync(dir, { recursive: true }));

function describe(file: string, devices: Readonly<Record<string, object>>, common: object = {}): void {
  const spec = {
    cdiVersion: "0.7.0",
    kind: "podrt.test/device",
    containerEdits: common,
    devices: Object.entries(devices).map(([name, containerEdits]) => ({ name, containerEdits })),
  };
  writeFileSync(join(dir, file), JSON.stringify(spec));
}

function asking(name: string, devices: readonly string[], more: ContainerConfig = {}) {
  return { name, CDIDevices: devices.map((name) => ({ name })), ...more } as ContainerConfig & {
    name: string;
  };
}

test("a device brings its node, its mounts, its variables and its groups, and those of its file", async () => {
  const { daemon } = fixture;
  const library = {
    hostPath: join(host, "library"),
    containerPath: "/usr/lib/driver",
    options: ["ro", "nosuid", "bind"],
  };
  describe(
    "low/vendor.json",
    {
      zero: { deviceNodes: [{ path: "/dev/driver/0", hostPath: device, permissions: "r" }], env: ["UNIT=0"] },
      one: { env: ["UNIT=1", "OTHER=1"] },
    },
    { env: ["DRIVER=here", "UNIT=none"], mounts: [library], additionalGids: [44, 0] },
  );
  const config = asking("all", ["podrt.test/device=zero"], secured({ runAsUser: { value: 1000n } }));
  const id = await runContainer(daemon, sandboxId, config);
  expect(await shellIn(daemon, id, "echo $DRIVER $UNIT $OTHER; cat /usr/lib/driver; id -G")).toBe(
    "here 0\na driver's library\n1000 44 50000",
  );
  const { rdev } = statSync(device);
  const numbers = `${((rdev >>> 8) & 0xfff).toString(16)}:${(rdev & 0xff).toString(16)}`;
  expect(await shellIn(daemon, id, "stat -c '%t:%T %a %u:%g' /dev/driver/0")).toBe(
    `${numbers} 666 1000:1000`,
  );
  expect(mountAt(await containerPid(daemon, id), "/usr/lib/driver").options).toEqual(
    expect.arrayContaining(["ro", "nosuid"]),
  );
  expect((await containerStatus(daemon, id)).mounts).toEqual([]);
  // The device cgroup knows what may be done with it, for the container's own process and for an exec.
  expect(await shellIn(daemon, id, ": < /dev/driver/0 && echo read")).toBe("read");
  const write = await execIn(daemon, id, "sh", "-c", ": > /dev/driver/0");
  expect(write.stderr).toContain("Operation not permitted");
});

test("devices are asked for by field and by annotation, each once", async () => {
  const { daemon } = fixture;
  writeFileSync(
    join(high, "vendor.yaml"),
    `cdiVersion: "0.5.0"\nkind: podrt.test/device\ndevices:\n${["a", "b"]
      .map((name) => `- {name: ${name}, containerEdits: {env: [${name.toUpperCase()}=yaml]}}\n`)
      .join("")}`,
  );
  describe("low/vendor.json", { a: { env: ["A=json"] } });
  const config = asking("both", ["podrt.test/device=a"], {
    annotations: { "cdi.k8s.io/plugin": "podrt.test/device=a,podrt.test/device=b" },
  });
  const id = await runContainer(daemon, sandboxId, config);
  expect(await shellIn(daemon, id, "echo $A $B")).toBe("yaml yaml");
  expect(procText(`/proc/${await containerPid(daemon, id)}/environ`).split("A=yaml")).toHaveLength(2);
  expect((await containerStatus(daemon, id)).annotations).toEqual(
    config.annotations as Record<string, string>,
  );
});

test("what nobody describes, or cannot be done, fails the creation and leaves nothing", async () => {
  const { daemon } = fixture;
  describe("low/vendor.json", {
    good: { env: ["GOOD=1"] },
    hooked: { hooks: [{ hookName: "createContainer", path: "/usr/bin/hook" }] },
    cached: { intelRdt: { closID: "x" } },
    absent: { deviceNodes: [{ path: "/dev/nowhere" }] },
  });
  writeFileSync(join(low, "broken.json"), "{");
  const file = join(low, "vendor.json");
  for (const [name, problem] of [
    [
      "podrt.test/device=unknown",
      `no CDI specification in ${low} or ${high} describes podrt.test/device=unknown`,
    ],
    [
      "podrt.test/device=hooked",
      `${file}: the device cannot be used, since it needs the createContainer hook /usr/bin/hook, and podrt executes no program of the host's`,
    ],
    ["podrt.test/device=cached", `${file}: the device cannot be used, since it needs intelRdt`],
    ["podrt.test/device=absent", `${file}: cannot use the device /dev/nowhere: ENOENT`],
  ] as const) {
    const creation = createContainer(daemon, sandboxId, asking("refused", ["podrt.test/device=good", name]));
    await expect(creation).rejects.toThrow(`[failed_precondition] ${problem}`);
  }
  const { containers } = await daemon.api.listContainers({});
  expect(containers.filter(({ metadata }) => metadata?.name === "refused")).toEqual([]);
  const id = await runContainer(daemon, sandboxId, asking("good", ["podrt.test/device=good"]));
  expect(await shellIn(daemon, id, "echo $GOOD")).toBe("1");
  expect(daemon.log()).toContain(`${join(low, "broken.json")}: is no JSON`);
});

test("a created container keeps its devices when the file goes and the daemon is restarted", async () => {
  const { daemon } = fixture;
  describe("low/vendor.json", {
    kept: { deviceNodes: [{ path: "/dev/kept", hostPath: device }], env: ["KEPT=1"] },
  });
  const containerId = await createContainer(daemon, sandboxId, asking("kept", ["podrt.test/device=kept"]));
  rmSync(join(low, "vendor.json"));
  await daemon.kill();
  await daemon.start();
  await daemon.api.startContainer({ containerId });
  expect(await shellIn(daemon, containerId, "echo $KEPT; : < /dev/kept && echo opened")).toBe("1\nopened");
});
