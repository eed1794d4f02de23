// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { keptPod } from "./harness/manifests.ts";
import { exited, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { RunningCommand } from "./harness/running-command.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";
import { startWeb } from "./harness/web-pod.ts";

const fixture = useDaemon();
const podrt = (...words: string[]) => fixture.daemon.podrt(words[0]!, ...words.slice(1));

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-cp-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("cp takes files out as the container sees them, and puts them in, without tar in the container", async () => {
  await startWeb(fixture.daemon);
  const local = join(directory, "copies");
  mkdirSync(join(local, "site/deep"), { recursive: true });
  writeFileSync(join(local, "site/deep/file"), Buffer.alloc(5_000_000, "y"));
  symlinkSync("deep/file", join(local, "site/link"));
  const there = await podrt("cp", join(local, "site"), "web/shell:/data");
  expect(there).toEqual({ code: 0, stdout: "", stderr: "" });
  const { containers } = await keptPod(fixture.daemon, "web");
  const shell = containers.find(({ name }) => name === "shell")!.containerId;
  expect(await shellIn(fixture.daemon, shell, "wc -c < /data/site/link; readlink /data/site/link")).toBe(
    "5000000\ndeep/file",
  );
  await shellIn(
    fixture.daemon,
    shell,
    "echo mine > /data/owned; chown 12:34 /data/owned; chmod 640 /data/owned",
  );
  // emptyDir and config map are mounts of the container's alone.
  expect(await podrt("cp", "web/shell:/data/.", join(local, "back"))).toMatchObject({ code: 0, stderr: "" });
  expect(readFileSync(join(local, "back/site/deep/file")).length).toBe(5_000_000);
  const { uid, gid, mode } = statSync(join(local, "back/owned"));
  expect([uid, gid, mode & 0o777]).toEqual([12, 34, 0o640]);
  expect((await podrt("cp", "-L", "web/nginx:/page/index.html", join(local, "page"))).code).toBe(0);
  expect(readFileSync(join(local, "page"), "utf8")).toBe("from the config map");
  const refused = await podrt("cp", join(local, "page"), "web/nginx:/page/index.html");
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("cannot be written: the file system is read-only");
  const kernel = await podrt("cp", "web/shell:/proc", local);
  expect(kernel.stderr).toContain("podrt: /proc in container shell is made up by the kernel");
  const many = await podrt("cp", "web/shell:/", join(local, "root"));
  expect(many.code).toBe(0);
  expect(many.stderr).toMatch(/^podrt: \d+ left out/);
  expect(existsSync(join(local, "root/bin/busybox"))).toBe(true);
  expect(readdirSync(join(local, "root/proc"))).toEqual([]);
  // Between containers, by way of both streams.
  const command = `${binary} cp --root ${fixture.daemon.root}`;
  const pipe = `${command} web/shell:/data/owned - | ${command} - web/nginx:/tmp`;
  expect(await runShell(pipe)).toEqual({ code: 0, stdout: "", stderr: "" });
  expect((await podrt("exec", "web/nginx", "--", "stat", "-c", "%u:%g", "/tmp/owned")).stdout).toBe(
    "12:34\n",
  );
});

async function runShell(line: string) {
  const child = Bun.spawn(["sh", "-c", line], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

test("cp takes what a container that has ended has left, and refuses to put anything there", async () => {
  const ran = await podrt(
    "run",
    "--name",
    "over",
    "busybox",
    "sh",
    "-c",
    "echo last words > /core; rm /bin/sh",
  );
  expect(ran.code).toBe(0);
  expect((await podrt("cp", "over:/core", join(directory, "core"))).code).toBe(0);
  expect(readFileSync(join(directory, "core"), "utf8")).toBe("last words\n");
  expect((await podrt("cp", "over:/bin/sh", directory)).stderr).toBe(
    "podrt: there is no /bin/sh in container busybox\n",
  );
  expect((await podrt("cp", join(directory, "core"), "over:/x")).stderr).toContain("not running");
  expect((await podrt("rm", "over")).code).toBe(0);
});

test("cp keeps the container's own owners where its user namespace maps them", async () => {
  const { daemon } = fixture;
  const sandbox = await runMappedSandbox(daemon, "mapped");
  const id = await runMapped(daemon, sandbox, { name: "app" });
  await shellIn(daemon, id, "echo x > /tmp/file; chown 5:6 /tmp/file");
  const file = join(directory, "mapped");
  expect((await podrt("cp", `${id}:/tmp/file`, file)).stderr).toBe("");
  expect([statSync(file).uid, statSync(file).gid]).toEqual([5, 6]);
  expect((await podrt("cp", file, `${id}:/tmp/again`)).stderr).toBe("");
  expect(await shellIn(daemon, id, "stat -c %u:%g /tmp/again; id -u")).toBe("5:6\n0");
  await daemon.api.stopPodSandbox({ podSandboxId: sandbox });
  await exited(daemon, id);
  const ended = join(directory, "mapped-ended");
  expect((await podrt("cp", `${id}:/tmp/file`, ended)).stderr).toBe("");
  expect([statSync(ended).uid, statSync(ended).gid]).toEqual([5, 6]);
  await daemon.api.removePodSandbox({ podSandboxId: sandbox });
});

test("a hostile container leads a copy nowhere out of itself, neither of the two ways", async () => {
  const { daemon } = fixture;
  const secret = join(directory, "host-secret");
  writeFileSync(secret, "of the host");
  const sandbox = await runSandbox(daemon, "hostile");
  // A directory that is a link to the host's path every other moment, and links and devices of all kinds.
  const script = `
    mkdir -p /w/d /trap${directory}; echo inside > /trap/inside; mknod /w/disk b 8 0; mknod /w/null c 1 3
    ln -s ${secret} /w/absolute; ln -s ../../../../../../..${secret} /w/relative; ln -s /proc/1/root /w/magic
    truncate -s 2199023255552 /w/huge.tmp; while :; do
      mv -T /w/d /w/d.old; ln -s ${directory} /w/d; rm /w/d; mv -T /w/d.old /w/d; done`;
  const id = await runContainer(daemon, sandbox, {
    name: "hostile",
    command: ["sh", "-c", script],
    linux: { securityContext: { namespaceOptions: { pid: 1 } } },
  });
  await eventually("the traps are laid", async () => {
    const { code } = await podrt("exec", id, "--", "test", "-e", "/w/huge.tmp");
    return code === 0;
  });
  const huge = await podrt("cp", `${id}:/w/huge.tmp`, join(directory, "huge"));
  expect(huge.code).toBe(1);
  expect(huge.stderr).toContain("more than the 68719476736 bytes that one copy may have");
  expect(existsSync(join(directory, "huge"))).toBe(false);
  await podrt("exec", id, "--", "rm", "/w/huge.tmp");
  for (const link of ["absolute", "relative"]) {
    const copied = await podrt("cp", "-L", `${id}:/w/${link}`, join(directory, link));
    expect(copied.stderr).toContain(`there is no /w/${link}`);
  }
  expect((await podrt("cp", `${id}:/w/magic/${secret}`, join(directory, "magic"))).code).toBe(1);
  const before = readdirSync(directory).sort();
  const file = join(directory, "payload");
  writeFileSync(file, "payload");
  for (let round = 0; round < 6; round++) {
    const out = join(directory, "out");
    await podrt("cp", `${id}:/w`, out);
    expect(readAll(out)).not.toContain("of the host");
    rmSync(out, { recursive: true, force: true });
    await podrt("cp", file, `${id}:/w/d/host-secret`);
    await podrt("cp", file, `${id}:/w/d/planted`);
  }
  rmSync(file);
  expect(readdirSync(directory).sort()).toEqual(before);
  expect(readFileSync(secret, "utf8")).toBe("of the host");
  await daemon.api.stopPodSandbox({ podSandboxId: sandbox });
  await daemon.api.removePodSandbox({ podSandboxId: sandbox });
});

/** All regular files below a directory; a device there would be a failure of its own. */
function readAll(path: string): string {
  if (!existsSync(path)) return "";
  const status = lstatSync(path);
  if (status.isBlockDevice() || status.isCharacterDevice()) throw new Error(`${path} is a device`);
  if (status.isDirectory())
    return readdirSync(path)
      .map((name) => readAll(join(path, name)))
      .join("");
  return status.isFile() ? readFileSync(path, "utf8") : "";
}
test("a large copy costs the daemon no memory, and one that is broken off leaves nothing", async () => {
  await startWeb(fixture.daemon);
  const large = join(directory, "large");
  writeFileSync(large, "");
  truncateSync(large, 200_000_000);
  const before = memoryOf(fixture.daemon.pid());
  expect((await podrt("cp", large, "web/shell:/data/large")).code).toBe(0);
  expect((await podrt("cp", "web/shell:/data/large", join(directory, "returned"))).code).toBe(0);
  expect(statSync(join(directory, "returned")).size).toBe(200_000_000);
  expect(memoryOf(fixture.daemon.pid()) - before).toBeLessThan(120_000_000);
  await using copying = new RunningCommand(
    fixture.daemon,
    "cp",
    "web/shell:/data/large",
    join(directory, "half"),
  );
  await eventually("the copy has begun", async () =>
    readdirSync(directory).some((name) => name.startsWith(".podrt-cp-")),
  );
  copying.child.kill("SIGINT");
  // It may have been faster.
  expect([130, 0]).toContain(await copying.ended);
  expect(readdirSync(directory).filter((name) => name.startsWith(".podrt-cp-"))).toEqual([]);
  const { containers } = await keptPod(fixture.daemon, "web");
  const shell = containers.find(({ name }) => name === "shell")!.containerId;
  const unfinished = () => shellIn(fixture.daemon, shell, "ls -A /data | grep -c podrt-cp- || true");
  await using putting = new RunningCommand(fixture.daemon, "cp", large, "web/shell:/data/half");
  const begun = eventually("the copy into it has begun", async () => (await unfinished()) === "1", 5000);
  await Promise.race([begun, putting.ended]);
  putting.child.kill("SIGINT");
  expect([130, 0]).toContain(await putting.ended);
  await eventually("nothing half is left in it", async () => (await unfinished()) === "0");
  await begun.catch(() => {});
  for (const name of ["large", "returned", "half"]) rmSync(join(directory, name), { force: true });
});

function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
