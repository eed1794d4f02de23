// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type FakeDaemon, runCommand, startFakeDaemon, type TestIo } from "../fake-daemon.ts";
import { populate } from "../fake-pods.ts";
import { measured } from "../fake-usage.ts";
import type { Terminal } from "../io.ts";

const ENTER = "\u001b[?1049h";
const LEAVE = "\u001b[?1049l";

async function daemonWithUsage(services = measured()): Promise<FakeDaemon> {
  const daemon = await startFakeDaemon({ runtime: services ?? {} });
  populate(daemon);
  return daemon;
}

/** A person at a terminal, who does something once the screen shows what is waited for, step by step. */
async function sit(
  daemon: FakeDaemon,
  steps: readonly [shown: string | RegExp, act: (person: Person) => void][],
  more: TestIo = {},
) {
  const keys: ((key: Uint8Array) => void)[] = [];
  const typed: Uint8Array[] = [];
  const modes: boolean[] = [];
  let onResize = () => {};
  const size = { width: 100, height: 12 };
  const terminal: Terminal = {
    size: () => size,
    onResize: (listener) => {
      onResize = listener;
      return () => {
        onResize = () => {};
      };
    },
    setRaw: (isRaw) => void modes.push(isRaw),
  };
  async function* stdin() {
    for (;;) yield typed.shift() ?? (await new Promise<Uint8Array>((resolve) => void keys.push(resolve)));
  }
  const person: Person = {
    type(text) {
      const bytes = new TextEncoder().encode(text);
      const waiting = keys.shift();
      if (waiting === undefined) typed.push(bytes);
      else waiting(bytes);
    },
    resize(width, height) {
      Object.assign(size, { width, height });
      onResize();
    },
  };
  const left = [...steps];
  const outcome = await runCommand(daemon.socketPath, ["top", "--interval", "200ms"], {
    terminal,
    stdin: stdin(),
    onOut(text) {
      const [shown, act] = left[0] ?? [];
      if (shown === undefined || !(typeof shown === "string" ? text.includes(shown) : shown.test(text)))
        return;
      left.shift();
      act!(person);
    },
    ...more,
  });
  expect(left.map(([shown]) => shown)).toEqual([]);
  return { ...outcome, modes };
}

interface Person {
  type(text: string): void;
  resize(width: number, height: number): void;
}

describe("top", () => {
  test("shows rates, sorts by keys, follows the size of the terminal, and q gives that back", async () => {
    await using daemon = await daemonWithUsage();
    const { exitCode, out, err, modes } = await sit(daemon, [
      [/app1[^\n]*50\.0/, ({ type }) => type("m")],
      ["MEMORY*", ({ resize }) => resize(100, 5)],
      [/1-2 of 5/, ({ type }) => type("\u001b[B")],
      [/2-3 of 5/, ({ type }) => type("q")],
    ]);
    expect([exitCode, err, modes]).toEqual([0, "", [true, false]]);
    expect(out).toStartWith(ENTER);
    expect(out.slice(out.lastIndexOf(LEAVE))).toBe(LEAVE);
    expect(out).toContain("\u001b[?25h");
  });

  test("gives the terminal back after Ctrl-C, and after a signal", async () => {
    await using daemon = await daemonWithUsage();
    const typed = await sit(daemon, [["demo", ({ type }) => type("\u0003")]]);
    expect([typed.exitCode, typed.modes, typed.out.endsWith(LEAVE)]).toEqual([0, [true, false], true]);
    const signal = new AbortController();
    const ended = await sit(daemon, [["demo", () => signal.abort()]], { interrupted: signal.signal });
    expect([ended.exitCode, ended.modes, ended.out.endsWith(LEAVE)]).toEqual([0, [true, false], true]);
  });

  test("gives the terminal back before it says what went wrong", async () => {
    const services = measured()!;
    let calls = 0;
    await using daemon = await daemonWithUsage({
      ...services,
      listContainers: () => {
        if (++calls > 2) throw new Error("the records are on fire");
        return { containers: daemon.containers };
      },
    });
    const { exitCode, out, err, modes } = await sit(daemon, []);
    expect([exitCode, modes, out.endsWith(LEAVE)]).toEqual([1, [true, false], true]);
    expect(err).toContain("on fire");
  });

  test("prints a table once where there is no terminal", async () => {
    await using daemon = await daemonWithUsage();
    const { exitCode, out } = await runCommand(daemon.socketPath, ["top", "--sort", "name"]);
    expect(exitCode).toBe(0);
    expect(out).not.toContain("\u001b");
    expect(out.split("\n").map((line) => line.trim().split(/ +/).slice(0, 3))).toEqual([
      ["NAME*", "STATE", "CPU%"],
      ["demo", "ErrImagePull", "60.0"],
      ["app1", "Running", "50.0"],
      ["app2", "ErrImagePull", "-"],
      ["kube-system/other", "Ready", "60.0"],
      ["etcd", "Running", "0.0"],
      [""],
    ]);
  });

  test("says before it takes the terminal over that there is no daemon", async () => {
    const terminal: Terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    const { exitCode, out, err } = await runCommand("/nonexistent/podrt.sock", ["top"], { terminal });
    expect([exitCode, out]).toEqual([1, ""]);
    expect(err).toContain("no daemon answers");
  });

  test("gives the terminal back when the process ends without a word", async () => {
    const program = `
      const { enterScreen } = await import(${JSON.stringify(join(import.meta.dir, "screen.ts"))});
      const io = { out: async (text) => void require("node:fs").writeSync(1, text) };
      const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: (raw) => require("node:fs").writeSync(2, raw + " ") };
      const screen = await enterScreen(io, terminal, () => {});
      screen.draw(["a picture"]);
      setTimeout(() => { throw new Error("a defect"); }, 0);
    `;
    const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect(await child.exited).not.toBe(0);
    expect([out.startsWith(ENTER), out.includes("a picture"), out.endsWith(LEAVE)]).toEqual([
      true,
      true,
      true,
    ]);
    expect(err.match(/true|false/g)).toEqual(["true", "false"]);
  });
});
