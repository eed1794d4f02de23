// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  execIn,
  runContainer,
  runSandbox,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const fixture = useDaemon();
let sandboxId: string;
/** Of the host's; containers have it as /volume. */
let volume: string;
let counter = 0;

beforeAll(async () => {
  volume = join(fixture.daemon.root, "volume");
  mkdirSync(join(volume, "directory"), { recursive: true });
  writeFileSync(join(volume, "directory/inside"), "inside\n");
  writeFileSync(join(volume, "secret"), "secret\n");
  symlinkSync("secret", join(volume, "to-file"));
  symlinkSync("/volume/directory", join(volume, "to-directory"));
  symlinkSync("../volume/secret", join(volume, "to-file-by-the-root"));
  symlinkSync("nowhere", join(volume, "dangling"));
  symlinkSync("loop", join(volume, "loop"));
  sandboxId = await runSandbox(fixture.daemon, "masks");
});

function run(context: SecurityContext, mounts: { hostPath: string; containerPath: string }[] = []) {
  return runContainer(fixture.daemon, sandboxId, {
    name: `masks-${counter++}`,
    mounts: [{ hostPath: volume, containerPath: "/volume" }, ...mounts],
    ...secured(context),
  });
}

/** The mounts that the kernel has at a path of a container, topmost last: their options. */
async function mountsAt(id: string, path: string): Promise<string[]> {
  const pid = await containerPid(fixture.daemon, id);
  const lines = procText(`/proc/${pid}/mountinfo`).split("\n");
  return lines.map((line) => line.split(" ")).flatMap((fields) => (fields[4] === path ? [fields[5]!] : []));
}

test("files are masked by the null device, directories by an empty one, and nothing can be written", async () => {
  const { daemon } = fixture;
  const id = await run({
    maskedPaths: ["/proc/timer_list", "/sys/firmware", "/volume/secret", "/volume/directory"],
  });
  for (const path of ["/proc/timer_list", "/volume/secret"]) {
    expect(await shellIn(daemon, id, `stat -c %t,%T ${path}; cat ${path} | wc -c`)).toBe("1,3\n0");
    expect((await mountsAt(id, path)).at(-1)).toStartWith("ro,nosuid,noexec");
  }
  for (const path of ["/sys/firmware", "/volume/directory"]) {
    expect(await shellIn(daemon, id, `ls -A ${path} | wc -l`)).toBe("0");
    const made = await execIn(daemon, id, "touch", `${path}/new`);
    expect(made.stderr).toContain("Read-only file system");
  }
  expect(readFileSync(join(volume, "secret"), "utf8")).toBe("secret\n");
});

test("what is masked or made read-only but does not exist is passed over", async () => {
  const missing = ["/no/such/path", "/volume/secret/below-a-file", "/volume/dangling"];
  const id = await run({ maskedPaths: missing, readonlyPaths: missing });
  expect((await execIn(fixture.daemon, id, "cat", "/volume/secret")).stdout).toBe("secret\n");
  expect(readdirSync(volume)).not.toContain("nowhere");
});

test("a symbolic link is followed inside the container, and what it names is masked", async () => {
  const { daemon } = fixture;
  const id = await run({ maskedPaths: ["/volume/to-file", "/volume/to-directory"] });
  expect(await shellIn(daemon, id, "cat /volume/secret | wc -c; ls /volume/directory | wc -l")).toBe("0\n0");
  expect(readlinkSync(join(volume, "to-file"))).toBe("secret");
});

test("a link that leads by way of the root is followed while paths are masked", async () => {
  const { daemon } = fixture;
  const id = await run({ maskedPaths: ["/proc/timer_list", "/volume/to-file-by-the-root"] });
  expect(await shellIn(daemon, id, "cat /volume/secret | wc -c; cat /proc/timer_list | wc -c")).toBe("0\n0");
});

test("a path that is masked twice, and one below another, stay masked", async () => {
  const { daemon } = fixture;
  const maskedPaths = ["/volume/directory/inside", "/volume/secret", "/volume/directory", "/volume/secret"];
  const id = await run({ maskedPaths: [...maskedPaths, "/sys/firmware", "/proc/kcore"] });
  expect(
    await shellIn(
      daemon,
      id,
      "cat /volume/secret /proc/kcore | wc -c; ls -A /volume/directory /sys/firmware",
    ),
  ).toBe("0\n/sys/firmware:\n\n/volume/directory:");
});

test("read-only paths refuse writes, through links too, and mounts below them keep their own flags", async () => {
  const { daemon } = fixture;
  const below = join(daemon.root, "below");
  mkdirSync(below);
  mkdirSync(join(volume, "directory/below"), { recursive: true });
  const id = await run({ readonlyPaths: ["/volume/to-directory", "/volume/to-file", "/proc/sys"] }, [
    { hostPath: below, containerPath: "/volume/directory/below" },
  ]);
  for (const path of ["/volume/directory/new", "/volume/secret", "/proc/sys/vm/swappiness"]) {
    const write = await execIn(daemon, id, "sh", "-c", `echo 1 >> ${path}`);
    expect(write.stderr).toContain("Read-only file system");
  }
  expect((await execIn(daemon, id, "touch", "/volume/directory/below/new")).code).toBe(0);
  expect((await execIn(daemon, id, "touch", "/volume/new")).code).toBe(0);
  expect((await mountsAt(id, "/proc/sys")).at(-1)).toStartWith("ro,");
});

test("a link that leads nowhere but round stops the container, and says which path", async () => {
  await expect(run({ maskedPaths: ["/volume/loop"] })).rejects.toThrow(
    "mask the directory /volume/loop: open it as a directory: ELOOP",
  );
});

test("a path whose link leads to the root stops the container: commands would begin above what is masked", async () => {
  symlinkSync("/", join(volume, "to-root"));
  symlinkSync("..", join(volume, "up"));
  for (const name of ["to-root", "up"]) {
    const readonly = run({ readonlyPaths: [`/volume/${name}`], maskedPaths: ["/proc/timer_list"] });
    expect(readonly).rejects.toThrow(/nothing is mounted over the root: EXDEV/);
    await readonly.catch(() => {});
    const mounted = run({}, [{ hostPath: join(volume, "directory"), containerPath: `/volume/${name}` }]);
    expect(mounted).rejects.toThrow(/nothing is mounted over the root: EXDEV/);
    await mounted.catch(() => {});
  }
});

test("a link through another process's root, where masks of the host would be, is refused", async () => {
  const { daemon } = fixture;
  const hostPid = { namespaceOptions: { pid: NamespaceMode.NODE } };
  const pod = await runSandbox(daemon, "host-pid", { linux: { securityContext: hostPid } });
  for (const [name, target] of [
    ["to-host", `/proc/1/root${volume}/secret`],
    ["to-cwd", "/proc/self/cwd"],
    ["to-descriptor", "/proc/self/fd/5"],
  ] as const) {
    symlinkSync(target, join(volume, name));
    for (const field of ["maskedPaths", "readonlyPaths"]) {
      const started = runContainer(daemon, pod, {
        name: `${name}-${field}`,
        mounts: [{ hostPath: volume, containerPath: "/volume" }],
        linux: { securityContext: { ...hostPid, [field]: [`/volume/${name}`] } },
      });
      await expect(started).rejects.toThrow(`/volume/${name}`);
    }
  }
  expect(readFileSync(join(volume, "secret"), "utf8")).toBe("secret\n");
  expect(procText("/proc/self/mountinfo")).not.toContain(volume);
});

test("no /dev/null that a volume brings along gets into a mask", async () => {
  const { daemon } = fixture;
  const dev = join(daemon.root, "dev");
  mkdirSync(dev);
  symlinkSync("/proc/sys/kernel/core_pattern", join(dev, "null"));
  const id = await run({ maskedPaths: ["/proc/timer_list", "/volume/secret"] }, [
    { hostPath: dev, containerPath: "/dev" },
  ]);
  for (const path of ["/proc/timer_list", "/volume/secret"]) {
    expect(await shellIn(daemon, id, `stat -c %F,%t,%T ${path}`)).toBe("character special file,1,3");
  }
});

test("without lists nothing is masked, and privileged ignores them", async () => {
  const { daemon } = fixture;
  const open = await run({});
  expect(await mountsAt(open, "/proc/sys")).toEqual([]);
  expect(await shellIn(daemon, open, "cat /proc/timer_list | wc -c").then(Number)).toBeGreaterThan(0);
  const pod = await runSandbox(daemon, "privileged", { linux: { securityContext: { privileged: true } } });
  const privileged = await runContainer(daemon, pod, {
    name: "privileged",
    mounts: [{ hostPath: volume, containerPath: "/volume" }],
    ...secured({
      privileged: true,
      maskedPaths: ["/volume/secret"],
      readonlyPaths: ["/proc/sys", "/volume"],
    }),
  });
  expect(await shellIn(daemon, privileged, "cat /volume/secret")).toBe("secret");
  expect(await mountsAt(privileged, "/proc/sys")).toEqual([]);
  expect((await execIn(daemon, privileged, "touch", "/volume/by-privileged")).code).toBe(0);
});

test("a thousand paths are masked, as on machines with hundreds of processors", async () => {
  const { daemon } = fixture;
  mkdirSync(join(volume, "many"));
  const names = Array.from({ length: 1024 }, (_, index) => `many/${index}`);
  for (const name of names) writeFileSync(join(volume, name), "x");
  const id = await run({ maskedPaths: names.map((name) => `/volume/${name}`) });
  expect(await shellIn(daemon, id, "cat /volume/many/* | wc -c")).toBe("0");
});

test("a container that swaps links under the masks of another gains nothing on the host", async () => {
  const { daemon } = fixture;
  const before = procText("/proc/self/mountinfo");
  const script =
    "while :; do ln -sfn /proc/1/root swap; ln -sfn /volume/directory swap; ln -sfn secret swap; done";
  const swapper = await runContainer(daemon, sandboxId, {
    name: "swapper",
    command: ["sh", "-c", script],
    workingDir: "/volume",
    mounts: [{ hostPath: volume, containerPath: "/volume" }],
  });
  for (let round = 0; round < 12; round++) {
    const paths = {
      maskedPaths: ["/volume/swap/inside", "/volume/swap"],
      readonlyPaths: ["/volume/swap/etc"],
    };
    const refusal = await run(paths).then(
      () => undefined,
      (error: Error) => error.message,
    );
    // A start that met the link into another process's root stops there.
    if (refusal !== undefined) expect(refusal).toMatch(/(mask|make).* \/volume\/swap.*: (ELOOP|EINVAL)/);
  }
  expect((await execIn(daemon, swapper, "true")).code).toBe(0);
  expect(readFileSync(join(volume, "directory/inside"), "utf8")).toBe("inside\n");
  expect(
    procText("/proc/self/mountinfo")
      .split("\n")
      .filter((line) => line.includes(volume)),
  ).toEqual(before.split("\n").filter((line) => line.includes(volume)));
});
