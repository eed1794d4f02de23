// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { dependencies, version } from "../../package.json";
import { projectDir } from "../fixtures/images/packages.ts";
import { patience } from "../support/patience.ts";
import { outputOf, runCommand } from "./harness/command.ts";

setDefaultTimeout(200_000 * patience);

const time = 1_800_000_000;
const tarball = `podrt-${version}-linux-x86_64.tar.gz`;
const deb = `podrt_${version}_amd64.deb`;
const rpm = `podrt-${version}-1.x86_64.rpm`;
const hasDeb = Bun.which("dpkg-deb") !== null;
const hasRpm = Bun.which("rpmbuild") !== null && Bun.which("rpm") !== null;
let dir: string;
let first: string;
let second: string;
let project: string;
let said: string;

const at = (name: string) => join(first, name);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "podrt-packages-"));
  first = join(dir, "first");
  second = join(dir, "second");
  project = join(dir, "elsewhere");
  await copyProject(project);
  [said] = await Promise.all([make(projectDir, first), make(project, second)]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function make(project: string, out: string): Promise<string> {
  const env = { SOURCE_DATE_EPOCH: String(time) };
  return outputOf(process.execPath, ["scripts/release/make-release.ts", out], {
    cwd: project,
    env,
    timeoutMs: 180_000,
  });
}

/** The program in a tree that a package unpacks to: it must run, tell what it is, and name nothing of this machine. */
async function expectProgram(root: string): Promise<void> {
  const program = join(root, "bin/podrt");
  const text = await outputOf(program, ["version", "-o", "json", "--socket", "/tmp/none.sock"]);
  expect(JSON.parse(text)).toMatchObject({
    version,
    build: { date: "2027-01-15T08:00:00Z", os: "linux", architecture: "amd64" },
  });
  expect(readFileSync(join(root, "lib/systemd/system/podrt.service"), "utf8")).toContain(
    `ExecStart=${root.endsWith("/usr") ? "/usr" : "/usr/local"}/bin/podrt serve\n`,
  );
  expect(existsSync(join(root, "share/doc/podrt/examples/config.toml"))).toBe(true);
  expect(existsSync(join(root, "share/podrt"))).toBe(false);
  for (const file of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const bytes = readFileSync(join(file.parentPath, file.name));
    for (const word of [projectDir, hostname(), "podrt-dist-"])
      expect([file.name, word, word.length > 3 && bytes.includes(word)]).toEqual([file.name, word, false]);
  }
}

test("what is made is listed with its sums, and what is not is said", async () => {
  const made = [tarball, `podrt-pause-${version}.oci.tar`, `podrt-${version}.cdx.json`];
  if (hasDeb) made.push(deb);
  else expect(said).toContain("no .deb is made: dpkg-deb is not here\n");
  if (hasRpm) made.push(rpm);
  else console.log("no .rpm is looked at: rpmbuild and rpm are not here (package rpm)");
  expect(readdirSync(first).sort()).toEqual([...made, "SHA256SUMS"].sort());
  expect(spawnSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: first }).status).toBe(0);
  expect(readFileSync(at("SHA256SUMS"), "utf8").trim().split("\n")).toHaveLength(made.length);
  expect(said).toContain("no package is made for aarch64: the launch engine and the monitor are x86-64");
});

test("the tarball unpacks below /usr/local to a program that runs", async () => {
  const root = join(dir, "local");
  mkdirSync(root);
  await outputOf("tar", ["-xzf", at(tarball), "-C", root, "--strip-components=1"]);
  await expectProgram(root);
});

// dpkg is Debian's.
test.skipIf(!hasDeb)("dpkg reads the .deb, whose files are root's", async () => {
  const fields = await outputOf("dpkg-deb", ["--field", at(deb)]);
  expect(fields).toContain(`Package: podrt\nVersion: ${version}\nArchitecture: amd64\n`);
  expect(fields).toMatch(/^Depends: libc6 \(>= 2\.\d+\)$/m);
  expect(fields).toMatch(/^Installed-Size: \d{5,}$/m);
  const listed = await outputOf("dpkg-deb", ["--contents", at(deb)]);
  expect(listed).toMatch(/^-rwxr-xr-x root\/root +\d+ 2027-01-15 08:00 \.\/usr\/bin\/podrt$/m);
  expect(listed.match(/root\/root/g)).toHaveLength(listed.trim().split("\n").length);
  const control = join(dir, "control");
  await outputOf("dpkg-deb", ["--control", at(deb), control]);
  for (const script of ["postinst", "prerm", "postrm"])
    expect(spawnSync("sh", ["-n", join(control, script)]).status).toBe(0);
});

// dpkg is Debian's.
test.skipIf(!hasDeb)("dpkg installs and purges it without a trace, unless pods are left", async () => {
  const root = join(dir, "machine");
  mkdirSync(join(root, "var/lib/dpkg"), { recursive: true });
  // Its scripts run outside of the root and are told of it by DPKG_ROOT.
  const options = [`--root=${root}`, "--force-depends", "--force-script-chrootless", "--no-triggers"];
  const dpkg = (...words: string[]) => runCommand("dpkg", [...options, ...words]);
  const haveState = () => {
    for (const path of ["var/lib/podrt/blobs", "run/podrt/pods", "etc/podrt"])
      mkdirSync(join(root, path), { recursive: true });
  };
  haveState();
  mkdirSync(join(root, "run/podrt/pods/0123"));
  expect((await dpkg("--install", at(deb))).code).toBe(0);
  await expectProgram(join(root, "usr"));
  expect((await dpkg("--list", "podrt")).stdout).toMatch(/^ii +podrt /m);
  const kept = await dpkg("--purge", "podrt");
  expect([kept.code, kept.stderr]).toEqual([0, expect.stringContaining("since pods have not been removed")]);
  expect(existsSync(join(root, "var/lib/podrt/blobs"))).toBe(true);

  rmdirSync(join(root, "run/podrt/pods/0123"));
  expect((await dpkg("--install", at(deb))).code).toBe(0);
  expect((await dpkg("--purge", "podrt")).code).toBe(0);
  const left = readdirSync(root, { recursive: true, encoding: "utf8" });
  expect(left.filter((path) => path.includes("podrt"))).toEqual([]);
  expect(existsSync(join(root, "usr"))).toBe(false);
});

// rpm is Red Hat's and SUSE's.
test.skipIf(!hasRpm)("rpm reads the .rpm, whose files are root's", async () => {
  const query = (...words: string[]) => outputOf("rpm", ["--query", ...words, "--package", at(rpm)]);
  expect(await query("--queryformat", "%{NAME} %{VERSION} %{ARCH} %{BUILDTIME} %{BUILDHOST}")).toBe(
    `podrt ${version} x86_64 ${time} podrt.invalid`,
  );
  expect(await query("--requires")).toMatch(/^libc\.so\.6\(GLIBC_2\.\d+\)\(64bit\)$/m);
  const files = (await query("--queryformat", "[%{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]"))
    .trim()
    .split("\n");
  expect(files).toContain("root:root /usr/bin/podrt");
  expect(files.filter((line) => !line.startsWith("root:root /usr/"))).toEqual([]);
  expect((await outputOf("rpm", ["--checksig", "--nosignature", at(rpm)])).trim()).toEndWith("OK");
  const root = join(dir, "rpm");
  mkdirSync(root);
  const options = ["--root", root, "--nodeps", "--noscripts"];
  // Debian's rpm wants to be told that this is no mistake.
  if (existsSync("/etc/debian_version")) options.push("--force-debian");
  await outputOf("rpm", [...options, "--ignorearch", "--ignoreos", "--install", at(rpm)]);
  await expectProgram(join(root, "usr"));
  await outputOf("rpm", [...options, "--erase", "podrt"]);
  expect(existsSync(join(root, "usr/bin/podrt"))).toBe(false);
  expect(existsSync(join(root, "usr/share/doc/podrt"))).toBe(false);
});

test("the bill of materials has every package that runs in the program, Bun, and the machine code", () => {
  const bill = JSON.parse(readFileSync(at(`podrt-${version}.cdx.json`), "utf8"));
  expect(bill).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6" });
  expect(bill.metadata).toMatchObject({
    timestamp: "2027-01-15T08:00:00Z",
    component: { name: "podrt", version },
  });
  const names: string[] = bill.components.map(({ name }: { name: string }) => name);
  const direct = Object.entries(dependencies).map(([name, wanted]) => /^npm:(.+)@/.exec(wanted)?.[1] ?? name);
  expect(names).toEqual(expect.arrayContaining([...direct, "@oven/bun-linux-x64", "pause/monitor.x86_64.S"]));
  for (const name of ["typescript", "@biomejs/biome", "fast-check"]) expect(names).not.toContain(name);
  for (const component of bill.components) {
    const length = component.hashes[0].alg === "SHA-512" ? 128 : 64;
    expect([component.name, component.hashes[0].content.length]).toEqual([component.name, length]);
    expect(component.licenses).toHaveLength(1);
  }
  expect(new Set(bill.dependencies[0].dependsOn).size).toBe(bill.components.length);
});

test("a second build, in another directory, gives the same bytes", () => {
  expect(readdirSync(second).sort()).toEqual(readdirSync(first).sort());
  for (const name of readdirSync(first))
    expect([name, readFileSync(join(second, name)).equals(readFileSync(at(name)))]).toEqual([name, true]);
});

test("without a commit the sources have no date but the one that is given", async () => {
  rmSync(join(project, ".git"), { recursive: true, force: true });
  const without = (time: string) =>
    runCommand(process.execPath, ["scripts/release/make-release.ts", join(dir, "third")], {
      cwd: project,
      env: { SOURCE_DATE_EPOCH: time },
    });
  const { code, stderr } = await without("");
  expect([code, stderr]).toEqual([1, expect.stringContaining("say in SOURCE_DATE_EPOCH of when they are")]);
  expect((await without("today")).stderr).toBe(
    "make: SOURCE_DATE_EPOCH is today, which is no number of seconds\n",
  );
  const program = join(dir, "alone");
  await outputOf(join(project, "scripts/build-binary.sh"), [program], { env: { SOURCE_DATE_EPOCH: "" } });
  const text = await outputOf(program, ["version", "-o", "json", "--socket", "/tmp/none.sock"]);
  expect(JSON.parse(text)).toMatchObject({ version, commit: null, build: { date: null } });
});

/** All of the project as it is now, changes and history included, with nothing that was built. */
async function copyProject(project: string): Promise<void> {
  if (existsSync(join(projectDir, ".git")))
    await outputOf("git", ["clone", "--quiet", "--no-checkout", "--shared", projectDir, project]);
  mkdirSync(project, { recursive: true });
  for (const name of readdirSync(projectDir)) {
    if ([".git", ".build", "dist"].includes(name)) continue;
    const copy = (how: string) => runCommand("cp", [how, join(projectDir, name), project]);
    // The packages are many: links of them are enough, where both are on one disk.
    if (name !== "node_modules" || (await copy("-al")).code !== 0) expect((await copy("-a")).code).toBe(0);
  }
  if (existsSync(join(project, ".git"))) await outputOf("git", ["-C", project, "reset", "--quiet"]);
}
