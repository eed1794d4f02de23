// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PluginExit, runPlugin } from "./exec.ts";

const TIMEOUT_MS = 30_000;

async function run(script: string, stdin = "", environment = {}): Promise<PluginExit> {
  const directory = mkdtempSync(join(tmpdir(), "podrt-exec-"));
  const program = join(directory, "plugin");
  writeFileSync(program, script);
  chmodSync(program, 0o755);
  try {
    return await runPlugin({ program, environment, stdin, timeoutMs: TIMEOUT_MS });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("what goes in comes out, of whatever size within the bound", async () => {
  const text = "x".repeat(1024 * 1024);
  const { failure, stdout } = await run("#!/bin/sh\nexec cat\n", text);
  expect({ failure, isSame: stdout === text }).toEqual({ failure: undefined, isSame: true });
  await expect(run("#!/bin/sh\nexec cat\n", `${text}x`)).rejects.toThrow("larger than 1048576 bytes");
});

test("it has three descriptors, the root as its directory, usual signals and the variables that it is given", async () => {
  const environment = { TOLD: "told", PATH: "/usr/bin:/bin" };
  const { stdout: descriptors } = await run("#!/bin/sh\nexec ls -v /proc/self/fd\n", "", environment);
  // The fourth is the directory that is listed.
  expect(descriptors).toBe("0\n1\n2\n3\n");
  const script = "#!/bin/sh\npwd; echo $TOLD $HOME; exec grep -E '^Sig(Blk|Ign)' /proc/self/status\n";
  const { stdout } = await run(script, "", environment);
  const [, ignored = ""] = /^\/\ntold\nSigBlk:\t0{16}\nSigIgn:\t([0-9a-f]{16})\n$/.exec(stdout) ?? [];
  const ofRuntime = (1n << 12n) | (1n << 24n);
  expect(BigInt(`0x${ignored}`) & ofRuntime).toBe(0n);
  // Whoever started the test may ignore others.
  const [, own = ""] = /^SigIgn:\t(.*)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  expect(BigInt(`0x${ignored}`) & ~BigInt(`0x${own}`)).toBe(0n);
});

test("what a program leaves running does not keep its result back for long", async () => {
  const { failure, stdout } = await run("#!/bin/sh\nsleep 5 & echo done\n", "", { PATH: "/usr/bin:/bin" });
  expect({ failure, stdout }).toEqual({ failure: undefined, stdout: "done\n" });
});

test("a program that cannot be executed is an error, and leaves no descriptor", async () => {
  const descriptors = () => readdirSync("/proc/self/fd").length;
  await run("#!/bin/sh\n").catch(() => {});
  const before = descriptors();
  for (let turn = 0; turn < 5; turn++) await expect(run("no program")).rejects.toThrow("ENOEXEC");
  expect(descriptors()).toBeLessThanOrEqual(before);
});
