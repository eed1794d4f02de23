// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { installedPlugins } from "./installed.ts";

/** What of these files is started, and what is said of the others. */
function found(
  files: Readonly<Record<string, string>>,
  configurations: Readonly<Record<string, string>> = {},
) {
  const dir = mkdtempSync(join(tmpdir(), "podrt-installed-"));
  const [plugins, configs] = [join(dir, "plugins"), join(dir, "conf.d")];
  const lines: string[] = [];
  const log = pino({}, { write: (line) => lines.push(JSON.parse(line).msg) });
  try {
    for (const path of [plugins, configs]) mkdirSync(path);
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(plugins, name), text, { mode: name.endsWith(".txt") ? 0o644 : 0o755 });
    for (const [name, text] of Object.entries(configurations)) writeFileSync(join(configs, name), text);
    mkdirSync(join(plugins, "11-directory"));
    symlinkSync("nowhere", join(plugins, "12-dangling"));
    const started = installedPlugins(plugins, configs, log);
    return {
      started: started.map(({ index, name, configuration }) => [index, name, configuration]),
      said: lines.map((line) => line.replaceAll(dir, "")),
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const dangling = expect.stringMatching(/^the NRI plugin \/plugins\/12-dangling is not started: ENOENT/);

test("plugins come by their index, with the configuration of their file's name or else of their own", () => {
  const { started, said } = found(
    { "20-second": "#!", "10-first": "#!", "30-third": "#!", "05-readme.txt": "read", notes: "#!" },
    { "20-second.conf": "its own", "second.conf": "anybody's", "first.conf": "anybody's" },
  );
  expect(started).toEqual([
    ["10", "first", "anybody's"],
    ["20", "second", "its own"],
    ["30", "third", ""],
  ]);
  expect(said).toEqual([
    dangling,
    "the NRI plugin /plugins/notes is not started: its name is not two digits, a hyphen, and 1 to 128 of letters, digits and _.+-",
  ]);
});

test("what cannot be started is left out by name, and keeps back no other", () => {
  const { started, said } = found(
    { "10-module": "\0asm\x01\0\0\0", "20-big": "#!", "30-small": "#!", "40-\u202e": "#!" },
    { "big.conf": "x".repeat(1024 * 1024 + 1), "small.conf": "x".repeat(1024 * 1024) },
  );
  expect(started.map(([, name]) => name)).toEqual(["small"]);
  expect(said).toEqual([
    "the NRI plugin /plugins/10-module is not started: it is a WebAssembly module, which podrt does not run",
    dangling,
    "the NRI plugin /plugins/20-big is not started: its configuration /conf.d/big.conf cannot be read: is larger than 1048576 bytes",
    expect.stringMatching(/^the NRI plugin \/plugins\/40-\? is not started: its name is not two digits/),
  ]);
});

test("no more are started than may be, and none where there is no directory", () => {
  const many = Object.fromEntries(Array.from({ length: 18 }, (_, n) => [`${50 + n}-plugin`, "#!"]));
  const { started, said } = found(many);
  expect(started).toHaveLength(16);
  expect(said).toHaveLength(3);
  expect(said.at(-1)).toBe("the NRI plugin /plugins/67-plugin is not started: 16 others come before it");
  const log = pino({}, { write: () => expect.unreachable() });
  expect(installedPlugins("/nowhere", "/nowhere", log)).toEqual([]);
  expect(installedPlugins("", "", log)).toEqual([]);
});
