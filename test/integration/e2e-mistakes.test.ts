// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TCPSocketListener } from "bun";
import { type GuardedRegistry, startGuardedRegistry } from "../fixtures/images/guarded-registry.ts";
import { prepareImages } from "../fixtures/images/prepare.ts";
import { ON_THE_COMMAND_LINE, WITH_WHAT_IS_THERE } from "../fixtures/mistakes/commands.ts";
import { IN_A_MANIFEST, ONCE_IT_RUNS, pod } from "../fixtures/mistakes/manifests.ts";
import { patience } from "../support/patience.ts";
import { outputOf } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";

/*
 * What people do wrong, and what they are told: one sentence that names the mistake and what to do about it.
 */

const NOBODY = 65_534;
const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 200\nrestart_backoff_max_ms = 400\n" });
/** Where the rows below work, what they need beside the daemon, and words that stand for what differs each time. */
let directory: string;
let guarded: GuardedRegistry;
let listener: TCPSocketListener<unknown>;
const words = (text: string) =>
  text
    .replaceAll("{registry}", fixture.registry.host)
    .replaceAll("{guarded}", guarded.host)
    .replaceAll("{root}", fixture.daemon.root)
    .replaceAll("{taken}", String(listener.port))
    .replaceAll("{dir}", directory);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "podrt-mistakes-"));
  chmodSync(directory, 0o755);
  writeFileSync(join(directory, "pod.yaml"), pod("web"));
  writeFileSync(join(directory, "file"), "");
  mkdirSync(join(directory, "empty"));
  guarded = startGuardedRegistry((await prepareImages()).layoutDir);
  listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { daemon } = fixture;
  const sleeping = "image: busybox, command: [sleep, '3600']";
  const started = await daemon.podrtWith(
    { stdin: pod("web", `  - {name: app1, ${sleeping}}\n  - {name: app2, ${sleeping}}\n`) },
    "run",
    "--detach",
    "-",
  );
  expect(started).toMatchObject({ code: 0 });
  expect((await daemon.podrt("run", "--name", "ended", "busybox", "true")).code).toBe(0);
  await runningPod(daemon, "web", 60_000);
});
afterAll(() => {
  listener?.stop(true);
  guarded?.[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

interface Outcome {
  readonly code: number;
  readonly stderr: string;
}

/** Runs podrt to its end, or until it has said what it is to say: then it is interrupted, as by Ctrl-C. */
function podrt(
  args: readonly string[],
  { stdin = "", uid, until }: { stdin?: string; uid?: number; until?: RegExp } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, {
      cwd: "/",
      stdio: ["pipe", "ignore", "pipe"],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    let stderr = "";
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`podrt ${args.join(" ")} went on after it had said: ${stderr}`));
    }, 45_000 * patience);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      if (until?.test(stderr)) child.kill("SIGINT");
    });
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, stderr });
    });
  });
}

/** Fails unless one line says it, whole, in a sentence fit for a person. */
function expectSentence(stderr: string, says: string): void {
  const lines = stderr.split("\n").filter((line) => line.startsWith("podrt: "));
  const pattern = words(says)
    .split("*")
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  const isSaid = lines.some((line) => new RegExp(`^podrt: ${pattern}$`).test(line));
  expect({ stderr, isSaid }, words(says)).toEqual({ stderr, isSaid: true });
  expect(stderr).not.toMatch(/undefined|\[object|^\s+at .*\.[jt]s|\bError: /m);
}

describe("on the command line", () => {
  test.each([...ON_THE_COMMAND_LINE])("%s", async (_, args, code, says) => {
    const [command = "", ...rest] = args.map(words);
    const isKnown = command === "run" || command === "stop";
    const outcome = await podrt([command, ...(isKnown ? ["--root", fixture.daemon.root] : []), ...rest]);
    expectSentence(outcome.stderr, says);
    expect(outcome.code).toBe(code);
  });
});

describe("in a manifest", () => {
  test.each([...IN_A_MANIFEST])("%s", async (_, stdin, says) => {
    const outcome = await podrt(["run", "--root", fixture.daemon.root, "-"], { stdin });
    expectSentence(outcome.stderr, says);
    expect(outcome.code).toBe(1);
  });
});

describe("with what is there", () => {
  test.each([...WITH_WHAT_IS_THERE])("%s", async (_, args, code, says) => {
    const [command = "", ...rest] = args.map(words);
    const outcome = await podrt([command, "--root", fixture.daemon.root, ...rest]);
    expectSentence(outcome.stderr, says);
    expect(outcome.code).toBe(code);
  });
});

describe("with what only turns out when it runs", () => {
  test.each([...ONCE_IT_RUNS])("%s", async (_, args, stdin, says) => {
    const until = /^podrt: (default\/)?new.*$/m;
    const flags = ["--root", fixture.daemon.root, ...args.map(words)];
    const outcome = await podrt(["run", ...flags, "-"], { stdin: words(stdin), until });
    expectSentence(outcome.stderr, says);
  });
});

describe("with the daemon", () => {
  const rows: [mistake: string, args: string[], says: string, config: string][] = [
    [
      "a directory that cannot be written",
      ["--root", "/proc/podrt"],
      "cannot make /proc/podrt/lib: ENOENT: *; name a directory that can be written, with --root",
      "",
    ],
    [
      "a file for a directory",
      ["--root", "{dir}/file"],
      "cannot read the configuration {dir}/file/config.toml: what it is said to be in is no directory; check --root and --config",
      "",
    ],
    [
      "a second daemon",
      ["--root", "{root}"],
      "another podrt serve runs on {root}/run: stop it, or use --root",
      "",
    ],
    [
      "a misspelt section",
      ["--root", "{dir}/conf"],
      "{dir}/conf/config.toml: netwrok: there is no such key; here may be network, *",
      "[netwrok]\nmtu = 1500\n",
    ],
    [
      "a misspelt key",
      ["--root", "{dir}/conf"],
      "{dir}/conf/config.toml: network.mtuu: there is no such key; here may be subnet, bridge, mtu, *",
      "[network]\nmtuu = 1500\n",
    ],
    [
      "a subnet that is none",
      ["--root", "{dir}/conf"],
      "network.subnet: 10.0.0.0/33 is no subnet as in 10.85.0.0/16 or fd00:85::/64",
      '[network]\nsubnet = "10.0.0.0/33"\n',
    ],
    [
      "a text for a number",
      ["--root", "{dir}/conf"],
      '{dir}/conf/config.toml: image.stall_timeout_ms: expected number, got "30s"',
      '[image]\nstall_timeout_ms = "30s"\n',
    ],
    [
      "a bracket that is not closed",
      ["--root", "{dir}/conf"],
      "{dir}/conf/config.toml is not TOML in line 1, column 9: *",
      "[network\n",
    ],
    [
      "a configuration that is not there",
      ["--root", "{dir}/conf", "--config", "{dir}/none.toml"],
      "cannot read the configuration {dir}/none.toml: there is no such file; check --config",
      "",
    ],
    ["a misspelt option", ["--rot", "{dir}/conf"], "Unknown option '--rot'; see podrt serve --help", ""],
  ];
  test.each(rows)("%s", async (_, args, says, config) => {
    mkdirSync(join(directory, "conf"), { recursive: true });
    if (config !== "") writeFileSync(join(directory, "conf/config.toml"), config);
    const outcome = await podrt(["serve", ...args.map(words)]);
    expectSentence(outcome.stderr, says);
    expect(outcome.code).not.toBe(0);
  });
  test("a disk without room", async () => {
    const disk = join(directory, "disk");
    mkdirSync(disk);
    await outputOf("mount", ["-t", "tmpfs", "-o", "size=64k", "none", disk]);
    try {
      const outcome = await podrt(["serve", "--root", disk]);
      const why = "cannot open the state database {dir}/disk/lib/podrt.db: database or disk is full";
      expectSentence(outcome.stderr, `${why}; free some space or remove images`);
      expect(outcome.code).toBe(1);
    } finally {
      await outputOf("umount", [disk]);
    }
  });

  test.each([
    [
      "that is not running",
      ["pods", "--root", "{dir}/empty"],
      undefined,
      "no daemon answers at {dir}/empty/run/podrt.sock; start it with `podrt serve`",
    ],
    [
      "of root's, by somebody else",
      ["pods", "--root", "{root}"],
      NOBODY,
      "no permission to use {root}/run/podrt.sock; run this as root",
    ],
    [
      "started by somebody else than root",
      ["serve", "--root", "{dir}/empty"],
      NOBODY,
      "podrt serve has to run as root",
    ],
  ] as [string, string[], number | undefined, string][])("one %s", async (_, args, uid, says) => {
    const outcome = await podrt(args.map(words), uid === undefined ? {} : { uid });
    expectSentence(outcome.stderr, says);
    expect(outcome.code).toBe(1);
  });
});
