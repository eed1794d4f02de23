// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../../package.json";
import { pauseArchive } from "../image/pause-image.ts";
import { runCommand } from "./fake-daemon.ts";

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-pause-image-"));
  file = join(dir, "pause.tar");
});
afterEach(() => rmSync(dir, { recursive: true }));

const pause = (...words: string[]) => runCommand("/none", ["pause", ...words]);
const written = () => readFileSync(file);

test("the image is written under the name of this version, and that is said", async () => {
  const name = `localhost/podrt/pause:${version}`;
  const { exitCode, out, err } = await pause("--image", file);
  expect(written()).toEqual(Buffer.from(pauseArchive(name)));
  expect({ exitCode, out, err }).toEqual({
    exitCode: 0,
    out: `${file} is written: ${name} for linux/amd64 and linux/arm64, ${written().length} bytes\n`,
    err: "",
  });
  expect(statSync(file).mode & 0o777).toBe(0o644);
});

test("--name is read as a reference, and a file that was there is replaced", async () => {
  writeFileSync(file, "something else");
  expect((await pause(`--image=${file}`, "--name", "registry.k8s.io/pause:3.10")).exitCode).toBe(0);
  expect(written()).toEqual(Buffer.from(pauseArchive("registry.k8s.io/pause:3.10")));
  expect((await pause("--image", file, "--name", "pause")).exitCode).toBe(0);
  expect(written()).toEqual(Buffer.from(pauseArchive("docker.io/library/pause:latest")));
});

test("- is standard output, with nothing else on it", async () => {
  const { exitCode, out } = await pause("--image", "-", "--name", "pause:1");
  expect([exitCode, out]).toEqual([0, new TextDecoder().decode(pauseArchive("docker.io/library/pause:1"))]);
});

test("a terminal gets no archive", async () => {
  const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
  const { exitCode, out, err } = await runCommand("/none", ["pause", "--image", "-"], { terminal });
  expect([exitCode, out, err]).toEqual([2, "", expect.stringContaining("nothing for a terminal")]);
});

test("what makes no sense is refused, and nothing is written", async () => {
  for (const [words, exitCode, message] of [
    [["--name", "pause:1"], 2, "--name goes with --image <file>"],
    [["-v", "--image", file], 2, "-v goes without --image"],
    [["--image", file, "--name", "Pause:1"], 1, "capital letters"],
    [["--image", file, "--name", `pause@sha256:${"0".repeat(64)}`], 2, "give it a tag"],
    [["--image"], 2, "argument missing"],
  ] as const) {
    const outcome = await pause(...words);
    expect(outcome.err).toContain(message);
    expect([outcome.exitCode, outcome.out]).toEqual([exitCode, ""]);
  }
  expect(readdirSync(dir)).toEqual([]);
});

test("a place that cannot be written to is told, and nothing is left beside it", async () => {
  const missing = await pause("--image", join(dir, "none/pause.tar"));
  expect(missing.exitCode).toBe(1);
  expect(missing.err).toContain(
    `cannot write the image to ${dir}/none/pause.tar: its directory is not there; make it first`,
  );
  const directory = await pause("--image", dir);
  expect([directory.exitCode, directory.err]).toEqual([
    1,
    expect.stringContaining(`image to ${dir}: a directory is there`),
  ]);
  expect(readdirSync(dir)).toEqual([]);
});
