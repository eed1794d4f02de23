// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { PERMISSION_NAMES } from "../kube/permissions.ts";
import { type FakeDaemon, runCommand, startFakeDaemon, type TestIo } from "./fake-daemon.ts";
import { addPermissionOptions, type PermissionOptions, permissionsOf } from "./permission-flags.ts";

const NEED = {
  permission: "host-network",
  place: "pod.yaml:5:3: spec.hostNetwork",
  why: "it listens on the machine's addresses",
};
const TELLING = `podrt: ${NEED.place}: needs --allow-${NEED.permission}: ${NEED.why}\n`;

let daemon: FakeDaemon;
let asked: string[][];
let directory: string;
let file: string;

beforeEach(async () => {
  asked = [];
  directory = mkdtempSync(join(tmpdir(), "podrt-allow-"));
  file = join(directory, "pod.yaml");
  writeFileSync(file, "kind: Pod\n");
  daemon = await startFakeDaemon({
    pods: {
      runPod: ({ allow }) => {
        asked.push(allow);
        return allow.includes(NEED.permission) || allow.includes("all")
          ? { pods: [{ namespace: "default", name: "p", uid: "u" }] }
          : { needs: [NEED] };
      },
    },
  });
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

const run = (options: string[], io: TestIo = {}) =>
  runCommand(daemon.socketPath, ["run", "--detach", ...options, file], io);
const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
const typing = (text: string): TestIo => ({
  terminal,
  stdin: (async function* () {
    yield Buffer.from(text);
  })(),
});

test("a script is told the option that is missing, and nothing runs", async () => {
  const { exitCode, err } = await run([]);
  expect(exitCode).toBe(1);
  expect(err).toStartWith(TELLING);
  expect(err).toContain("nothing was run; add the options");
  expect(asked).toEqual([[]]);
});

test("with the option it runs", async () => {
  expect(await run(["--allow-host-network"])).toMatchObject({ exitCode: 0, out: "p\n", err: "" });
  expect(await run(["-A"])).toMatchObject({ exitCode: 0 });
  expect(asked).toEqual([["host-network"], ["all"]]);
});

test.each(["y\n", "Yes\n"])("a person at a terminal is asked once, and types %j", async (answer) => {
  const { exitCode, out, err } = await run([], typing(answer));
  expect({ exitCode, out }).toEqual({ exitCode: 0, out: "p\n" });
  expect(err).toBe(`${TELLING}Allow this? [y/N] `);
  expect(asked).toEqual([[], ["host-network"]]);
});

test.each(["n\n", "\n", "", "yesterday\n"])("anything else, as %j, is a no", async (answer) => {
  const { exitCode, err } = await run([], typing(answer));
  expect(exitCode).toBe(1);
  expect(err).toContain("nothing was run, since it was not allowed");
  expect(asked).toEqual([[]]);
});

function parsed(...words: string[]): string[] {
  const command = addPermissionOptions(new Command()).exitOverride();
  command.configureOutput({ writeErr: () => {} }).parse(words, { from: "user" });
  return permissionsOf(command.opts<PermissionOptions>());
}

test("every permission has its option", () => {
  const values: Readonly<Record<string, string>> = {
    cap: "NET_ADMIN",
    "host-path": "/srv",
    port: "80",
    sysctl: "kernel.msgmax",
    unconfined: "seccomp",
  };
  for (const name of PERMISSION_NAMES) {
    const value = values[name];
    const words = value === undefined ? [`--allow-${name}`] : [`--allow-${name}`, value];
    expect(parsed(...words)).toEqual([value === undefined ? name : `${name}=${value}`]);
  }
});

test("values are listed with commas or by more options, but a path may have a comma", () => {
  expect(parsed("--allow-cap=A,B", "--allow-cap", "C", "--allow-host-path=/a,b:ro")).toEqual([
    "host-path=/a,b:ro",
    "cap=A",
    "cap=B",
    "cap=C",
  ]);
  expect(() => parsed("--allow-cap=A,,B")).toThrow("commas");
});
