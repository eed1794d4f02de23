// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../../package.json";
import { MACHINE_CODE } from "../../src/linux/machine-code.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { childrenOf, isAlive, procText } from "./harness/proc.ts";

/** The pause for aarch64, on such a machine or under qemu's user emulation. */
const emulator = process.arch === "arm64" ? [] : ["qemu-aarch64-static"];
const canRun = emulator.every((name) => Bun.which(name) !== null);
const WARNING = "pause: warning: not PID 1, so orphans of a pod are not handed to this process\n";
let directory = "";
let command: string[] = [];

if (!canRun) console.log("skipped: qemu-aarch64-static (of the package qemu-user-static) is not here");
setDefaultTimeout(60_000 * patience);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-pause-aarch64-"));
  const file = join(directory, "pause");
  writeFileSync(file, MACHINE_CODE.aarch64.PAUSE_ELF, { mode: 0o755 });
  command = [...emulator, file];
});
afterAll(() => rmSync(directory, { recursive: true }));

function run(...args: string[]) {
  const [program, ...words] = [...command, ...args];
  const { status, stdout, stderr } = spawnSync(program!, words, { encoding: "utf8", timeout: 60_000 });
  return { status, stdout, stderr };
}

/** Starts it and waits until it says that it is not PID 1: from then on it hears signals. */
async function startOutside() {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  let said = "";
  const reading = (async () => {
    for await (const chunk of child.stderr) said += Buffer.from(chunk).toString();
  })();
  const kill = () => child.kill("SIGKILL");
  await eventually("pause warns", () => said === WARNING).catch((error) => {
    kill();
    throw error;
  });
  return { child, reading, said: () => said, [Symbol.dispose]: kill };
}

/** pause as PID 1 of a PID namespace; its pid outside. */
async function startInside() {
  const words = ["unshare", "--pid", "--fork", "--kill-child", ...command];
  const parent = Bun.spawn(words, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const pid = await eventually("pause is PID 1", () => {
    const [first] = childrenOf(parent.pid);
    return first !== undefined && procText(`/proc/${first}/comm`) === "pause\n" ? first : undefined;
  });
  return { parent, pid, [Symbol.dispose]: () => parent.kill("SIGKILL") };
}

// An x86-64 machine needs an emulator.
test.skipIf(!canRun)("-v prints the version of podrt; any other argument gets the usage", () => {
  expect(run("-v")).toEqual({ status: 0, stdout: `podrt pause ${version}\n`, stderr: "" });
  for (const args of [["-x"], ["-vv"], [""], ["-v", "-v"], ["version"]])
    expect(run(...args)).toEqual({ status: 2, stdout: "", stderr: "usage: pause [-v]\n" });
});

// An x86-64 machine needs an emulator.
test.skipIf(!canRun)(
  "not being PID 1 it warns once, lives through other signals, and ends with 0",
  async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      using pause = await startOutside();
      const { child, reading, said } = pause;
      for (const other of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM"] as const) child.kill(other);
      // Of two signals that wait the kernel hands over the lower one first, and SIGHUP is lower than both.
      child.kill(signal);
      await child.exited;
      expect([child.exitCode, child.signalCode]).toEqual([0, null]);
      await reading;
      expect(said()).toBe(WARNING);
    }
  },
);

// An x86-64 machine needs an emulator.
test.skipIf(!canRun)("as PID 1 it reaps orphans, says nothing, and ends with 0", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    using pause = await startInside();
    const script = "i=0; while [ $i -lt 100 ]; do (sleep 0.05 &) ; i=$((i+1)); done";
    const made = spawnSync("nsenter", ["-t", String(pause.pid), "-p", "sh", "-c", script]);
    expect(made.status).toBe(0);
    await eventually("all orphans are reaped", () => childrenOf(pause.pid).length === 0);
    expect(isAlive(pause.pid)).toBe(true);
    process.kill(pause.pid, signal);
    expect(await pause.parent.exited).toBe(0);
    expect(await new Response(pause.parent.stderr).text()).toBe("");
  }
});
