// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import {
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
import { listTree } from "../fixtures/tree-listing.ts";
import { patience } from "../support/patience.ts";
import { outputOf, runCommand } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";

setDefaultTimeout(60_000 * patience);

let destination: string;
const at = (path: string) => join(destination, path);
const textAt = (path: string) => readFileSync(at(path), "utf8");

beforeEach(() => {
  destination = mkdtempSync(join(tmpdir(), "podrt-install-"));
});
afterEach(() => rmSync(destination, { recursive: true, force: true }));

function run(script: "install" | "uninstall", prefix = "/usr") {
  const words = script === "install" ? [binary] : [];
  const env = { DESTDIR: destination, PREFIX: prefix };
  return runCommand(join(projectDir, `scripts/${script}.sh`), words, { env });
}

/** What lies below the destination, less the times of directories, which any change in them moves. */
function tree() {
  return Object.fromEntries(
    Object.entries(listTree(destination)).map(([path, { mtimeNs, ...listed }]) => [
      path,
      listed.type === "directory" ? listed : { ...listed, mtimeNs },
    ]),
  );
}

const good = { code: 0, stdout: "", stderr: "" };

test("what is installed runs, names its own place, and goes away again without a trace", async () => {
  mkdirSync(at("usr/share/man/man1"), { recursive: true });
  mkdirSync(at("usr/lib/systemd"), { recursive: true });
  mkdirSync(at("usr/bin"));
  writeFileSync(at("usr/bin/other"), "somebody else's");
  symlinkSync("other", at("usr/bin/link"));
  const before = tree();
  expect(await run("install")).toEqual(good);

  expect(await outputOf(at("usr/bin/podrt"), ["--version"])).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(textAt("usr/lib/systemd/system/podrt.service")).toContain("\nExecStart=/usr/bin/podrt serve\n");
  expect(textAt("usr/lib/systemd/system/podrt.socket")).toContain("ListenStream=/run/podrt/podrt.sock");
  expect(textAt("usr/share/doc/podrt/examples/config.toml")).toContain("[network]");
  for (const file of [
    "bash-completion/completions/podrt",
    "zsh/site-functions/_podrt",
    "fish/vendor_completions.d/podrt.fish",
    "man/man1/podrt.1",
    "man/man1/podrt-run.1",
  ])
    expect(textAt(`usr/share/${file}`)).toContain("podrt");

  // Once more, as for an upgrade: what is written down stays whole.
  const installed = tree();
  expect(await run("install")).toEqual(good);
  expect(Object.keys(tree())).toEqual(Object.keys(installed));
  expect(await run("uninstall")).toEqual(good);
  expect(tree()).toEqual(before);
});

test("make hands its variables on, and a directory with something of somebody else in it stays", async () => {
  const make = (target: string) =>
    runCommand("make", ["--silent", target, `DESTDIR=${destination}`, "PREFIX=/opt/podrt"], {
      cwd: projectDir,
    });
  if (Bun.which("make") === null) return console.log("skipped: make is not here");
  expect((await make("install")).code).toBe(0);
  expect(existsSync(at("opt/podrt/bin/podrt"))).toBe(true);
  writeFileSync(at("opt/podrt/share/doc/podrt/notes"), "mine");
  const { code, stdout } = await make("uninstall");
  const staying = ["share/doc/podrt/", "share/doc/", "share/", ""].map((path) => `/opt/podrt/${path}`);
  const lines = [...staying, "/opt/"].map((path) => `uninstall: ${path} is not empty and stays\n`);
  expect([code, stdout]).toEqual([0, lines.join("")]);
  const left = Object.entries(tree()).filter(([, { type }]) => type !== "directory");
  expect(left.map(([path]) => path)).toEqual(["opt/podrt/share/doc/podrt/notes"]);
});

test("an installation that fails leaves nothing unfinished, and can be taken away", async () => {
  mkdirSync(at("usr/share/doc/podrt"), { recursive: true });
  const before = tree();
  const env = { DESTDIR: destination, PREFIX: "/usr" };
  const failed = await runCommand(join(projectDir, "scripts/install.sh"), ["/bin/false"], { env });
  expect([failed.code, failed.stdout]).toEqual([1, ""]);
  expect(existsSync(at("usr/bin/podrt"))).toBe(true);
  expect(Object.keys(tree()).filter((path) => path.endsWith(".new"))).toEqual([]);
  expect(await run("uninstall")).toEqual(good);
  expect(tree()).toEqual(before);
});

test("what was never installed there cannot be removed, and a relative prefix is refused", async () => {
  const nothing = await run("uninstall");
  expect(nothing.code).toBe(1);
  expect(nothing.stderr).toContain(`there is no ${destination}/usr/share/podrt/installed: give the DESTDIR`);
  const relative = await run("install", "usr");
  expect([relative.code, relative.stderr]).toEqual([
    2,
    "install: PREFIX is usr, which is no absolute path\n",
  ]);
  expect(Object.keys(tree())).toEqual([""]);
});
