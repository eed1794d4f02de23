// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { dependencies, version } from "../../package.json";
import { ARCHITECTURE, type Architecture, goName } from "../../src/linux/architecture.ts";
import { projectDir } from "../fixtures/images/packages.ts";
import { emulatorOf } from "../support/emulator.ts";
import { patience } from "../support/patience.ts";
import { outputOf, runCommand } from "./harness/command.ts";

setDefaultTimeout(600_000 * patience);

const time = 1_800_000_000;
const architectures: readonly Architecture[] = ["x86_64", "aarch64"];
/** What is made for a machine. */
const namesFor = (architecture: Architecture) => ({
  tarball: `podrt-${version}-linux-${architecture}.tar.gz`,
  deb: `podrt_${version}_${goName(architecture)}.deb`,
  rpm: `podrt-${version}-1.${architecture}.rpm`,
  bill: `podrt-${version}-linux-${architecture}.cdx.json`,
});
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
  for (const other of architectures.filter((architecture) => architecture !== ARCHITECTURE))
    await outputOf(process.execPath, ["scripts/fetch-bun.ts", other], {
      cwd: projectDir,
      timeoutMs: 300_000,
    });
  await copyProject(project);
  [said] = await Promise.all([make(projectDir, first), make(project, second)]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function make(project: string, out: string): Promise<string> {
  const env = { SOURCE_DATE_EPOCH: String(time) };
  return outputOf(process.execPath, ["scripts/release/make-release.ts", out], {
    cwd: project,
    env,
    timeoutMs: 500_000,
  });
}

/** What a program says of itself; undefined where it cannot be called. */
async function versionOf(architecture: Architecture, program: string): Promise<object | undefined> {
  const emulator = emulatorOf(architecture);
  if (emulator === undefined) return undefined;
  const [command, ...words] = [...emulator, program];
  const text = await outputOf(command!, [...words, "version", "-o", "json", "--socket", "/tmp/none.sock"]);
  return JSON.parse(text) as object;
}

/** The program in a tree that a package unpacks to: it must run, tell what it is, and name nothing of this machine. */
async function expectProgram(root: string, architecture: Architecture): Promise<void> {
  const EM = { x86_64: 62, aarch64: 183 };
  const program = join(root, "bin/podrt");
  expect(new DataView(await Bun.file(program).slice(0, 64).arrayBuffer()).getUint16(18, true)).toBe(
    EM[architecture],
  );
  const said = await versionOf(architecture, program);
  if (said !== undefined)
    expect(said).toMatchObject({
      version,
      build: { date: "2027-01-15T08:00:00Z", os: "linux", architecture: goName(architecture) },
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
  const names = architectures.map(namesFor);
  const made = [`podrt-pause-${version}.oci.tar`, ...names.flatMap(({ tarball, bill }) => [tarball, bill])];
  if (hasDeb) made.push(...names.map(({ deb }) => deb));
  else expect(said).toContain("no .deb for aarch64 is made: dpkg-deb is not here\n");
  if (hasRpm) made.push(...names.map(({ rpm }) => rpm));
  else console.log("no .rpm is looked at: rpmbuild and rpm are not here (package rpm)");
  expect(readdirSync(first).sort()).toEqual([...made, "SHA256SUMS"].sort());
  expect(spawnSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: first }).status).toBe(0);
  expect(readFileSync(at("SHA256SUMS"), "utf8").trim().split("\n")).toHaveLength(made.length);
});

describe.each(architectures)("for %s", (architecture) => {
  const { tarball, deb, rpm, bill } = namesFor(architecture);

  test("the tarball unpacks below /usr/local to a program that runs", async () => {
    const root = join(dir, `local-${architecture}`);
    mkdirSync(root);
    await outputOf("tar", ["-xzf", at(tarball), "-C", root, "--strip-components=1"]);
    await expectProgram(root, architecture);
  });

  // dpkg is Debian's.
  test.skipIf(!hasDeb)("dpkg reads the .deb, whose files are root's", async () => {
    const fields = await outputOf("dpkg-deb", ["--field", at(deb)]);
    expect(fields).toContain(`Package: podrt\nVersion: ${version}\nArchitecture: ${goName(architecture)}\n`);
    expect(fields).toMatch(/^Depends: libc6 \(>= 2\.\d+\)$/m);
    expect(fields).toMatch(/^Installed-Size: \d{5,}$/m);
    const listed = await outputOf("dpkg-deb", ["--contents", at(deb)]);
    expect(listed).toMatch(/^-rwxr-xr-x root\/root +\d+ 2027-01-15 08:00 \.\/usr\/bin\/podrt$/m);
    expect(listed.match(/root\/root/g)).toHaveLength(listed.trim().split("\n").length);
    const control = join(dir, `control-${architecture}`);
    await outputOf("dpkg-deb", ["--control", at(deb), control]);
    for (const script of ["postinst", "prerm", "postrm"])
      expect(spawnSync("sh", ["-n", join(control, script)]).status).toBe(0);
  });

  // dpkg is Debian's.
  test.skipIf(!hasDeb)("dpkg installs and purges it without a trace, unless pods are left", async () => {
    const root = join(dir, `machine-${architecture}`);
    mkdirSync(join(root, "var/lib/dpkg"), { recursive: true });
    // Its scripts run outside of the root and are told of it by DPKG_ROOT.
    const options = [`--root=${root}`, "--force-depends", "--force-script-chrootless", "--no-triggers"];
    if (architecture !== ARCHITECTURE) options.push("--force-architecture");
    const dpkg = (...words: string[]) => runCommand("dpkg", [...options, ...words]);
    const haveState = () => {
      for (const path of ["var/lib/podrt/blobs", "run/podrt/pods", "etc/podrt"])
        mkdirSync(join(root, path), { recursive: true });
    };
    haveState();
    mkdirSync(join(root, "run/podrt/pods/0123"));
    expect((await dpkg("--install", at(deb))).code).toBe(0);
    await expectProgram(join(root, "usr"), architecture);
    expect((await dpkg("--list", "podrt")).stdout).toMatch(/^ii +podrt(:arm64)? /m);
    const kept = await dpkg("--purge", "podrt");
    expect([kept.code, kept.stderr]).toEqual([
      0,
      expect.stringContaining("since pods have not been removed"),
    ]);
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
      `podrt ${version} ${architecture} ${time} podrt.invalid`,
    );
    expect(await query("--requires")).toMatch(/^libc\.so\.6\(GLIBC_2\.\d+\)\(64bit\)$/m);
    const files = (await query("--queryformat", "[%{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]"))
      .trim()
      .split("\n");
    expect(files).toContain("root:root /usr/bin/podrt");
    expect(files.filter((line) => !line.startsWith("root:root /usr/"))).toEqual([]);
    expect((await outputOf("rpm", ["--checksig", "--nosignature", at(rpm)])).trim()).toEndWith("OK");
    const root = join(dir, `rpm-${architecture}`);
    mkdirSync(root);
    const options = ["--root", root, "--nodeps", "--noscripts"];
    // Debian's rpm wants to be told that this is no mistake.
    if (existsSync("/etc/debian_version")) options.push("--force-debian");
    await outputOf("rpm", [...options, "--ignorearch", "--ignoreos", "--install", at(rpm)]);
    await expectProgram(join(root, "usr"), architecture);
    await outputOf("rpm", [...options, "--erase", "podrt"]);
    expect(existsSync(join(root, "usr/bin/podrt"))).toBe(false);
    expect(existsSync(join(root, "usr/share/doc/podrt"))).toBe(false);
  });

  test("the bill of materials has every package that runs in the program, Bun, and the machine code", () => {
    const read = JSON.parse(readFileSync(at(bill), "utf8"));
    expect(read).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6" });
    expect(read.metadata).toMatchObject({
      timestamp: "2027-01-15T08:00:00Z",
      component: { name: "podrt", version },
    });
    const names: string[] = read.components.map(({ name }: { name: string }) => name);
    const direct = Object.entries(dependencies).map(
      ([name, wanted]) => /^npm:(.+)@/.exec(wanted)?.[1] ?? name,
    );
    expect(names).toEqual(expect.arrayContaining([...direct, `pause/monitor.${architecture}.S`]));
    const bun = { x86_64: "@oven/bun-linux-x64", aarch64: "@oven/bun-linux-aarch64" };
    expect(names.filter((name) => name.startsWith("@oven/"))).toEqual([bun[architecture]]);
    for (const name of ["typescript", "@biomejs/biome", "fast-check"]) expect(names).not.toContain(name);
    for (const component of read.components) {
      const length = component.hashes[0].alg === "SHA-512" ? 128 : 64;
      expect([component.name, component.hashes[0].content.length]).toEqual([component.name, length]);
      expect(component.licenses).toHaveLength(1);
    }
    expect(new Set(read.dependencies[0].dependsOn).size).toBe(read.components.length);
  });
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
  mkdirSync(join(project, ".build"));
  await runCommand("cp", ["-al", join(projectDir, ".build/bun"), join(project, ".build")]);
  if (existsSync(join(project, ".git"))) await outputOf("git", ["-C", project, "reset", "--quiet"]);
}
