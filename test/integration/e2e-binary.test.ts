// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectDir } from "../fixtures/images/packages.ts";
import { runCommand } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { childrenOf, isAlive, memoryOf, procText } from "./harness/proc.ts";

const { version } = JSON.parse(readFileSync(join(projectDir, "package.json"), "utf8")) as { version: string };
let dir: string;
let copy: string;
let link: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-binary-"));
  copy = join(dir, "podrt-copy");
  copyFileSync(binary, copy);
  link = join(dir, "pause");
  symlinkSync(copy, link);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Starts a pause and waits until machine code has taken the place of the program. */
async function startPause(
  program: string,
  args: readonly string[],
): Promise<{ child: ChildProcess; stderr: () => string }> {
  const child = spawn(program, args, { cwd: "/", stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await eventually(
    "the process is /pause",
    () => procText(`/proc/${child.pid}/cmdline`).split("\0")[0] === "/pause",
  );
  return { child, stderr: () => text };
}

function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
}

test("one file is all that is needed, from any directory and without anything else of the project", async () => {
  const options = { cwd: "/", env: { HOME: "/nonexistent" } };
  const help = await runCommand(copy, ["--help"], options);
  expect(help).toMatchObject({ code: 0, stderr: "" });
  for (const command of [
    "serve",
    "pause",
    "run",
    "pods",
    "ps",
    "logs",
    "exec",
    "stop",
    "rm",
    "inspect",
    "images",
  ]) {
    expect(help.stdout).toMatch(new RegExp(`^ +${command}\\b`, "m"));
  }
  expect(await runCommand(copy, ["--version"], options)).toMatchObject({ code: 0, stdout: `${version}\n` });
});

test("a directory that it is started in names no code to run and no settings", async () => {
  const cwd = join(dir, "of-somebody-else");
  mkdirSync(cwd);
  writeFileSync(join(cwd, "bunfig.toml"), 'preload = ["./first.ts"]\n');
  writeFileSync(join(cwd, "first.ts"), 'console.log("taken over");\n');
  writeFileSync(join(cwd, ".env"), "PODRT_SOCKET=/named/by/env.sock\n");
  const { code, stdout, stderr } = await runCommand(copy, ["version"], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).not.toContain("taken over");
  expect(stdout).not.toContain("/named/by/env.sock");
});

test("it says what it was built from, and names no directory of where that was", async () => {
  const { stdout } = await runCommand(copy, ["version", "-o", "json"]);
  const { commit, build } = JSON.parse(stdout);
  expect(build).toMatchObject({ bun: Bun.version, os: "linux" });
  if (existsSync(join(projectDir, ".git"))) expect(commit).toMatch(/^[0-9a-f]{40}(-dirty)?$/);
  expect(readFileSync(copy).includes(`${projectDir}/`)).toBe(false);
});

test("podrt pause -v and a link named pause print the version", async () => {
  for (const [program, args] of [
    [copy, ["pause", "-v"]],
    [link, ["-v"]],
  ] as const) {
    const { code, stdout } = await runCommand(program, args);
    expect(code).toBe(0);
    expect(stdout).toContain(version);
  }
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`started by hand, pause warns that it is not PID 1, survives other signals and ends with 0 on ${signal}`, async () => {
    const { child, stderr } = await startPause(copy, ["pause"]);
    const ended = exitOf(child);
    await eventually("it warns", () => stderr().includes("PID 1"));
    for (const other of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM"] as const) child.kill(other);
    await Bun.sleep(100);
    expect(isAlive(child.pid!)).toBe(true);
    expect(memoryOf(child.pid!)["Pss"]).toBeLessThan(32 * 1024);
    child.kill(signal);
    expect(await ended).toBe(0);
  });
}

test("as PID 1 of a namespace a link named pause says nothing and reaps", async () => {
  const child = spawn("unshare", ["--pid", "--fork", "--kill-child", link], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
  });
  const ended = exitOf(child);
  const pid = await eventually("PID 1 is /pause", () => {
    const [first] = childrenOf(child.pid!);
    return first !== undefined && procText(`/proc/${first}/cmdline`) === "/pause\0" ? first : undefined;
  });
  const orphans = "for i in 1 2 3 4 5; do (sleep 0.05 &); done";
  const entered = await runCommand("nsenter", ["-t", String(pid), "-p", "sh", "-c", orphans]);
  expect(entered.code).toBe(0);
  await eventually("no child is left", () => childrenOf(pid).length === 0);
  process.kill(pid, "SIGTERM");
  expect(await ended).toBe(0);
  expect(stderr).toBe("");
});
