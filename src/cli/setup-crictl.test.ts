// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./fake-daemon.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-setup-"));
  path = join(dir, "etc/crictl.yaml");
});
afterEach(() => rmSync(dir, { recursive: true }));

const setup = (...more: string[]) =>
  runCommand("/run/x/podrt.sock", ["setup", "crictl", "--path", path, ...more]);

test("crictl's configuration names the socket of the instance", async () => {
  expect(await setup()).toEqual({
    exitCode: 0,
    out: `${path} is written: crictl uses /run/x/podrt.sock\n`,
    err: "",
  });
  expect(readFileSync(path, "utf8")).toBe(
    'runtime-endpoint: "unix:///run/x/podrt.sock"\nimage-endpoint: "unix:///run/x/podrt.sock"\ntimeout: 10\n',
  );
  expect(statSync(path).mode & 0o777).toBe(0o644);
  expect(readdirSync(join(dir, "etc"))).toEqual(["crictl.yaml"]);
});

test("what is there and says the same stays; what says something else stays unless forced", async () => {
  await setup();
  expect((await setup()).out).toBe(`${path} is as it should be\n`);
  writeFileSync(path, "runtime-endpoint: unix:///run/containerd/containerd.sock\n");
  const refused = await setup();
  expect([refused.exitCode, refused.err]).toEqual([
    1,
    `podrt: ${path} is there and says something else: replace it with --force, or write another with --path\n`,
  ]);
  expect(readFileSync(path, "utf8")).toContain("containerd");
  expect((await setup("--force")).exitCode).toBe(0);
  expect(readFileSync(path, "utf8")).toContain("/run/x/podrt.sock");
});

test("a place that cannot be written to is told", async () => {
  path = "/proc/nowhere/crictl.yaml";
  const failed = await setup();
  expect([failed.exitCode, failed.err]).toEqual([
    1,
    expect.stringContaining(`cannot write the configuration to ${path}: `),
  ]);
});
