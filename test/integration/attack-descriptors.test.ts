// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { ContainerState } from "../../src/gen/runtime/v1/api_pb.ts";
import { addHostileImage } from "../fixtures/hostile-image.ts";
import { addIndex, type Files, REF_NAME, writeLayout } from "../fixtures/image-files.ts";
import { runCommand } from "./harness/command.ts";
import { binary, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { importHostile } from "./harness/hostile.ts";
import {
  type ContainerConfig,
  containerPid,
  containerStatus,
  createContainer,
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";
import { procLink } from "./harness/proc.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";

/*
 * Nothing of the host's stays open in a container, and no working directory leads through what is open
 * (CVE-2024-21626): neither by a descriptor's name nor by a link to one, at the start and in every exec.
 */

const fixture = useDaemon();
let sandboxId: string;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "descriptors");
});

/** What `ls` has open in the place of its caller: stdio, and the directory that it is reading. */
const LIST =
  'for fd in /proc/self/fd/*; do echo "$(basename $fd) $(readlink $fd)"; done; ls /proc/self/fd | wc -l';

function expectStdioAlone(listing: string): void {
  const lines = listing.trim().split(/\r*\n/);
  // The count is of ls, with its three and the directory it reads.
  expect(lines.pop()).toBe("4");
  const inherited = lines.filter(
    (line) => !/^\d+ (\/dev\/null|pipe:\[\d+\]|\/dev\/pts\/\d+|\/dev\/console)?$/.test(line),
  );
  // The shell holds the directory of the glob while it expands it, and that is the container's own.
  expect(inherited.filter((line) => !/^\d+ \/proc\/\d+\/fd$/.test(line))).toEqual([]);
}

const openIn = (pid: number) =>
  readdirSync(`/proc/${pid}/fd`).map((fd) => `${fd} ${procLink(`/proc/${pid}/fd/${fd}`)}`);

describe("nothing but stdio is open", () => {
  test.each<[string, ContainerConfig]>([
    ["plain", {}],
    ["with stdin", { stdin: true }],
    ["with a terminal", { tty: true, stdin: true }],
  ])("in a container, %s", async (name, config) => {
    const { daemon } = fixture;
    const command = ["sh", "-c", `(${LIST}) >/said.new; mv /said.new /said; exec sleep 3600`];
    const id = await runContainer(daemon, sandboxId, {
      name: `start-${name.replaceAll(" ", "-")}`,
      ...config,
      command,
    });
    expectStdioAlone(await eventually("it has looked", () => shellIn(daemon, id, "cat /said")));
    expect(openIn(await containerPid(daemon, id)).map((line) => line.split(" ")[0])).toEqual(["0", "1", "2"]);
  });

  test("in executed commands: ExecSync, and streams with and without a terminal", async () => {
    const { daemon } = fixture;
    const id = await runContainer(daemon, sandboxId, { name: "execs" });
    expectStdioAlone(await shellIn(daemon, id, LIST));
    for (const options of [[], ["-i"]]) {
      const { stdout } = await daemon.podrtWith(
        { stdin: "" },
        "exec",
        ...options,
        id.slice(0, 13),
        "--",
        "sh",
        "-c",
        LIST,
      );
      expectStdioAlone(stdout);
    }
    // script(1) of util-linux gives the client a terminal.
    const line = `${binary} exec --root ${daemon.root} -it ${id.slice(0, 13)} -- sh -c '${LIST}'`;
    const { stdout } = await runCommand("script", ["-qec", line, "/dev/null"], { stdin: "" });
    // The terminal echoes the end of its input.
    expectStdioAlone(stdout.replaceAll(/\^[@D][\b]*/g, ""));
  });

  test("in a pod with a user namespace, at the start and in an exec", async () => {
    const { daemon } = fixture;
    const pod = await runMappedSandbox(daemon, "mapped");
    const id = await runMapped(daemon, pod, {
      name: "mapped",
      command: ["sh", "-c", `(${LIST}) >/said.new; mv /said.new /said; exec sleep 3600`],
    });
    expectStdioAlone(await eventually("it has looked", () => shellIn(daemon, id, "cat /said")));
    expectStdioAlone(await shellIn(daemon, id, LIST));
  });

  test("in a pause, the embedded one and that of a sandbox image", async () => {
    expect(
      openIn(await pausePid(fixture.daemon, sandboxId)).filter((line) => !line.endsWith("/dev/null")),
    ).toEqual([]);
    const config = '[image]\nsandbox_image = "registry.k8s.io/pause:3.9"\n';
    const daemon = await startDaemon({ mirror: fixture.registry.host, config });
    try {
      const pause = await pausePid(daemon, await runSandbox(daemon, "image"));
      expect(procLink(`/proc/${pause}/exe`)).toBe("/pause");
      expect(openIn(pause).filter((line) => !line.endsWith("/dev/null"))).toEqual([]);
    } finally {
      await daemon.close();
    }
  });
});

const NUMBERS = Array.from({ length: 62 }, (_, index) => index + 3);

/** A few at a time: there are many. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const workers = Array.from({ length: 6 }, async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  });
  await Promise.all(workers);
}

/** The start fails with the path's name, and nothing runs. */
async function expectRefused(name: string, config: ContainerConfig): Promise<void> {
  const { daemon } = fixture;
  const id = await createContainer(daemon, sandboxId, { name, ...config });
  const started = await daemon.api.startContainer({ containerId: id }).then(
    () => true,
    (error: Error) => {
      expect(error.message).toMatch(/(open|make directory) .*: (ELOOP|ENOENT|ENOTDIR)/);
      return false;
    },
  );
  if (started) {
    const cwd = procLink(`/proc/${await containerPid(daemon, id)}/cwd`);
    throw new Error(`${name} was started in ${cwd}`);
  }
  expect((await containerStatus(daemon, id)).state).toBe(ContainerState.CONTAINER_EXITED);
  await daemon.api.removeContainer({ containerId: id });
}

describe("a working directory through a descriptor is refused", () => {
  test("as a request's, for each number that could be one", async () => {
    const paths = [
      ...NUMBERS.map((number) => `/proc/self/fd/${number}`),
      "/proc/self/cwd",
      "/proc/thread-self/fd/101",
      "/proc/1/root",
    ];
    await eachOf(paths, (workingDir) =>
      expectRefused(`cwd${workingDir.replaceAll("/", "-")}`, { workingDir }),
    );
    const above = createContainer(fixture.daemon, sandboxId, {
      name: "up",
      workingDir: "/proc/self/fd/8/../../..",
    });
    await expect(above).rejects.toThrow('must not contain ".."');
  });

  test("as an image's, for each number, by links and with dots", async () => {
    const { daemon } = fixture;
    const files: Files = new Map();
    const directories = [
      ...NUMBERS.map((number) => `/proc/self/fd/${number}`),
      "/proc/self/fd/9/../../../../..",
      "/link-to-descriptor",
      "/link-to-root",
      "/link-to-cwd/below",
    ];
    const links = [
      { name: "link-to-descriptor", type: "2", linkName: "/proc/self/fd/7" },
      { name: "link-to-root", type: "2", linkName: "/proc/self/root" },
      { name: "link-to-cwd", type: "2", linkName: "proc/self/cwd/../.." },
    ];
    const manifests = [];
    for (const [index, WorkingDir] of directories.entries()) {
      const manifest = await addHostileImage(files, { layers: [links], run: { WorkingDir } });
      manifests.push({ ...manifest, annotations: { [REF_NAME]: `hostile.example/cwd:${index}` } });
    }
    const base = join(daemon.root, "cwd-images");
    mkdirSync(base);
    const imported = await daemon.podrt("import", writeLayout(base, addIndex(files, manifests)));
    expect(imported).toMatchObject({ code: 0 });
    await eachOf([...directories.keys()], (index) =>
      expectRefused(`image-cwd-${index}`, { image: { image: `hostile.example/cwd:${index}` } }),
    );
  });

  test("in an exec, when the container has put a link in the place of its directory", async () => {
    const { daemon } = fixture;
    const image = await importHostile(daemon, "moving", { layers: [[{ name: "work/", type: "5" }]] });
    const id = await runContainer(daemon, sandboxId, {
      name: "moving",
      image: { image },
      workingDir: "/work",
    });
    expect(await shellIn(daemon, id, "pwd")).toBe("/work");
    await shellIn(daemon, id, "cd / && rmdir /work");
    const work = `/proc/${await containerPid(daemon, id)}/root/work`;
    for (const target of [
      "/proc/self/fd/3",
      "/proc/self/fd/101",
      "/proc/self/cwd",
      "/proc/1/root",
      "/proc/self/root",
    ]) {
      rmSync(work, { force: true });
      symlinkSync(target, work);
      const attempt = execIn(daemon, id, "ls", "/proc/self/cwd/");
      await expect(attempt).rejects.toThrow(/open the working directory \/work: (ELOOP|ENOENT)/);
    }
  });
});
