// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
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
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { openDaemon } from "../../src/cli/client.ts";
import type { CopyToRequestSchema, PortForwardRequestSchema } from "../../src/gen/podrt/v1/podrt_pb.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { keptPod, runningPod } from "./harness/manifests.ts";
import { exited, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";

const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 20\nrestart_backoff_max_ms = 50\n" });
const podrt = (...words: string[]) => fixture.daemon.podrt(words[0]!, ...words.slice(1));

/** An empty one for each test. */
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-reaching-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const WEB = `
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {index.html: from the config map}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: page, configMap: {name: page}}
  - {name: data, emptyDir: {}}
  containers:
  - name: nginx
    image: nginx
    volumeMounts: [{name: page, mountPath: /page}]
  - name: shell
    image: busybox
    command: [sh, -c, "nc -ll -p 7000 -e cat & while :; do sleep 1; done"]
    volumeMounts: [{name: data, mountPath: /data}]
`;

async function startWeb(): Promise<void> {
  if ((await fixture.daemon.pods.listPods({})).pods.some(({ name }) => name?.name === "web")) return;
  const ran = await fixture.daemon.podrtWith({ stdin: WEB }, "run", "--detach", "-");
  expect(ran).toMatchObject({ code: 0 });
  await runningPod(fixture.daemon, "web");
}

/** A command that goes on until it is told to end. */
class Running implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<number>;
  out = "";
  err = "";

  constructor(...[command, ...words]: string[]) {
    this.child = spawn(binary, [command!, "--root", fixture.daemon.root, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.out += text;
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.err += text;
    });
    this.ended = new Promise((resolve) => this.child.once("close", (code) => resolve(code ?? -1)));
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await eventually(`the command says ${pattern}`, async () => {
      const found = pattern.exec(this.out + this.err);
      if (found === null) throw new Error(JSON.stringify([this.out, this.err]));
      return found;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

test("port-forward leads several ports of both families to the pod, whole and both ways, until Ctrl-C", async () => {
  await startWeb();
  await using forwarding = new Running("port-forward", "web", ":80", ":7000", ":9");
  const ports = [];
  for (const port of [80, 7000, 9]) {
    ports.push(
      Number((await forwarding.says(new RegExp(`127\\.0\\.0\\.1:(\\d+).* port ${port} of web`)))[1]),
    );
  }
  const [web, echo, nothing] = ports as [number, number, number];
  const page = await eventually("nginx answers", async () =>
    (await fetch(`http://127.0.0.1:${web}/`)).text(),
  );
  expect(page).toContain("<html");
  if (existsSync("/proc/net/if_inet6") && forwarding.out.includes("[::1]")) {
    expect(await (await fetch(`http://[::1]:${web}/`)).text()).toBe(page);
  }
  const sent = Buffer.alloc(20_000_000, "0123456789abcdef");
  const echoes = await Promise.all([1, 2, 3].map(() => throughPort(echo, sent)));
  expect(echoes.map((answer) => answer.equals(sent))).toEqual([true, true, true]);
  expect((await throughPort(nothing, Buffer.from("x"))).length).toBe(0);
  await forwarding.says(/podrt: port 9: cannot connect to port 9 of the pod: .*ECONNREFUSED/);
  // A connection that is open does not hold it up.
  const open = connect({ host: "127.0.0.1", port: echo });
  open.on("error", () => {});
  await new Promise((resolve) => open.once("connect", resolve));
  forwarding.child.kill("SIGINT");
  expect(await forwarding.ended).toBe(0);
  open.destroy();
});

/** Sends all, ends, and answers what came back until the other end. */
function throughPort(port: number, data: Buffer): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    socket.on("data", (part: Buffer) => void parts.push(part));
    socket.on("error", () => {});
    socket.on("close", () => resolve(Buffer.concat(parts)));
    socket.on("end", () => socket.end());
    socket.end(data);
  });
}

test("cp takes files out as the container sees them, and puts them in, without tar in the container", async () => {
  await startWeb();
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
  expect(kernel.stderr).toContain("podrt: /proc in the container is made up by the kernel");
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
    "podrt: there is no /bin/sh in the container\n",
  );
  expect((await podrt("cp", join(directory, "core"), "over:/x")).stderr).toContain("not running");
  expect((await podrt("rm", "over")).code).toBe(0);
});

test("cp keeps the container's own owners where its user namespace maps them", async () => {
  const { daemon } = fixture;
  const logDirectory = join(directory, "mapped-logs");
  const sandbox = await runMappedSandbox(daemon, "mapped", {}, { logDirectory });
  const id = await runMapped(daemon, sandbox, { name: "app" });
  await shellIn(daemon, id, "echo x > /tmp/file; chown 5:6 /tmp/file");
  const file = join(directory, "mapped");
  expect((await podrt("cp", `${id}:/tmp/file`, file)).stderr).toBe("");
  expect([statSync(file).uid, statSync(file).gid]).toEqual([5, 6]);
  expect((await podrt("cp", file, `${id}:/tmp/again`)).stderr).toBe("");
  expect(await shellIn(daemon, id, "stat -c %u:%g /tmp/again; id -u")).toBe("5:6\n0");
  const tools = await podrt("debug", id, "--", "cat", "/proc/self/uid_map");
  expect(tools).toMatchObject({ code: 0, stderr: "" });
  expect(tools.stdout.trim().split(/\s+/)).toEqual(["0", "1000", "100000"]);
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

test("the calls behind them refuse what makes no sense, with the field", async () => {
  await startWeb();
  using daemon = openDaemon(fixture.daemon.socket);
  const { sandboxId, containers } = await keptPod(fixture.daemon, "web");
  const containerId = containers.find(({ name }) => name === "shell")!.containerId;
  const refusal = async (replies: AsyncIterable<unknown> | Promise<unknown>) => {
    try {
      if (replies instanceof Promise) await replies;
      else for await (const _ of replies);
      return "it was done";
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      return `${Code[code]} ${rawMessage}`;
    }
  };
  const { copyFrom, copyTo, portForward, reclaim } = daemon.pods;
  const one = async function* (...messages: MessageInitShape<typeof CopyToRequestSchema>[]) {
    yield* messages;
  };
  const onePort = async function* (message: MessageInitShape<typeof PortForwardRequestSchema>) {
    yield message;
  };
  const start = (path: string, topName = "") => ({
    message: { case: "start" as const, value: { containerId, path, topName } },
  });
  const archive = { message: { case: "archive" as const, value: new Uint8Array(512).fill(65) } };
  const port = (number: number) => ({
    message: { case: "start" as const, value: { podSandboxId: sandboxId, port: number } },
  });
  const data = { message: { case: "data" as const, value: new Uint8Array(1) } };
  expect(await refusal(copyFrom({ containerId, path: "" }))).toStartWith(
    "InvalidArgument path: must not be empty",
  );
  expect(await refusal(copyFrom({ containerId, path: "/a\0b" }))).toStartWith(
    "InvalidArgument path: must not contain a NUL",
  );
  expect(await refusal(copyFrom({ containerId, path: "x".repeat(5000) }))).toStartWith(
    "InvalidArgument path: must not exceed",
  );
  expect(await refusal(copyFrom({ containerId: "feed", path: "/" }))).toStartWith("NotFound");
  expect(await refusal(copyTo(one(archive)))).toStartWith("InvalidArgument start: is required");
  expect(await refusal(copyTo(one(start(""))))).toStartWith("InvalidArgument start.path: must not be empty");
  for (const name of ["a/b", ".."]) {
    expect(await refusal(copyTo(one(start("/tmp", name))))).toStartWith("InvalidArgument start.top_name: ");
  }
  expect(await refusal(copyTo(one(start("/tmp"), start("/tmp"))))).toStartWith(
    "InvalidArgument archive: is all",
  );
  expect(await refusal(copyTo(one(start("/tmp"), archive)))).toMatch(/^InvalidArgument .*checksum/);
  expect(await refusal(copyTo(one(start("/bin/busybox"), archive)))).toStartWith(
    "NotFound there is no directory /bin/busybox",
  );
  expect(await refusal(portForward(onePort(port(0))))).toStartWith(
    "InvalidArgument start.port: must be between 1 and 65535, but is 0",
  );
  expect(await refusal(portForward(onePort(port(70_000))))).toStartWith(
    "InvalidArgument start.port: must be between 1 and 65535, but is 70000",
  );
  expect(await refusal(portForward(onePort(data)))).toStartWith("InvalidArgument start: is required");
  expect(await refusal(reclaim({ items: Array(10_001).fill({ kind: "image" }) }))).toStartWith(
    "InvalidArgument items: has 10001",
  );
  const replies = [];
  for await (const { error } of reclaim({
    items: [
      { kind: "moon", id: "x" },
      { kind: "image", id: "sha256:none" },
      { kind: "pod", id: "default/web" },
      { kind: "volume", id: "../../etc" },
    ],
  })) {
    replies.push(error);
  }
  expect(replies[0]).toStartWith('kind: "moon"');
  expect(replies[1]).toBe("image sha256:none is gone already");
  expect(replies[2]).toBe("pod default/web is not over any more");
  expect(replies[3]).toContain("there is no volume");
  expect(await shellIn(fixture.daemon, containerId, "ls -A /tmp")).toBe("");
});

test("a large copy costs the daemon no memory, and one that is broken off leaves nothing", async () => {
  await startWeb();
  const large = join(directory, "large");
  writeFileSync(large, "");
  truncateSync(large, 200_000_000);
  const before = memoryOf(fixture.daemon.pid());
  expect((await podrt("cp", large, "web/shell:/data/large")).code).toBe(0);
  expect((await podrt("cp", "web/shell:/data/large", join(directory, "returned"))).code).toBe(0);
  expect(statSync(join(directory, "returned")).size).toBe(200_000_000);
  expect(memoryOf(fixture.daemon.pid()) - before).toBeLessThan(120_000_000);
  await using copying = new Running("cp", "web/shell:/data/large", join(directory, "half"));
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
  await using putting = new Running("cp", large, "web/shell:/data/half");
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

test("debug sees the processes and files of a container in its network, and goes", async () => {
  await startWeb();
  const script =
    "cat /proc/1/comm; wc -c < /proc/1/root/etc/nginx/nginx.conf; wget -qO- http://127.0.0.1/ | head -c 5; exit 3";
  const seen = await podrt("debug", "web/nginx", "--", "sh", "-c", script);
  expect(seen).toMatchObject({ code: 3 });
  expect(seen.stdout).toMatch(/^nginx\n[1-9]\d*\n<!DOC|^nginx\n[1-9]\d*\n<html/);
  const pod = await podrt("debug", "web", "--", "hostname");
  expect(pod).toMatchObject({ code: 0, stdout: "web\n" });
  expect(pod.stderr).toMatch(/name it: web\/(shell, web\/nginx|nginx, web\/shell)\n$/);
  expect((await podrt("debug", "none")).stderr).toContain("there is no pod or container none");
  expect(Object.keys(JSON.parse((await podrt("debug", "dump")).stdout) as object).length).toBeGreaterThan(3);
  const { containers } = await fixture.daemon.api.listContainers({});
  expect(
    containers.map(({ metadata }) => metadata?.name).filter((name) => name?.startsWith("busybox")),
  ).toEqual([]);
});

test("debug says that a pod without logs has none to show output from", async () => {
  const { daemon } = fixture;
  const podSandboxId = await runSandbox(daemon, "unlogged");
  const id = await runContainer(daemon, podSandboxId, { name: "app" });
  const { code, stderr } = await podrt("debug", id, "--", "true");
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr:
      "podrt: pod unlogged keeps no logs, from which output is shown: run the command with -it, or with --detach\n",
  });
  const { containers } = await daemon.api.listContainers({ filter: { podSandboxId } });
  expect(containers.map(({ metadata }) => metadata?.name)).toEqual(["app"]);
  await daemon.api.removePodSandbox({ podSandboxId });
});

// Needs tmux, to be a person at a terminal.
test.skipIf(!hasTmux)("debug is a shell on a terminal", async () => {
  await startWeb();
  await using screen = await openTmux();
  await screen.type(`${binary} debug --root ${fixture.daemon.root} web/shell; echo ended $?`);
  await screen.until("the prompt of the tools", (rows) => rows.some((row) => row === "/ #"));
  await screen.type("echo $((6*7)); ls /proc/1/root/data; tty");
  const rows = await screen.until("what was typed and its answer", (shown) => shown.includes("/dev/pts/0"));
  expect(rows).toContain("42");
  await screen.type("exit 4");
  await screen.until("the exit code", (shown) => shown.some((row) => row.endsWith("ended 4")));
});

// Needs tmux, to be a person at a terminal.
test.skipIf(!hasTmux)("port-forward says on a terminal what it listens on, and Ctrl-C ends it", async () => {
  await startWeb();
  await using screen = await openTmux();
  await screen.type(`${binary} port-forward --root ${fixture.daemon.root} web :80; echo ended $?`);
  await screen.until("how to end it", (rows) => rows.includes("Ctrl-C ends it."));
  const [line] = (await screen.rows()).filter((row) => row.includes(" to port 80 of web"));
  const port = /127\.0\.0\.1:(\d+)/.exec(line ?? "")?.[1];
  expect((await fetch(`http://127.0.0.1:${port}/`)).ok).toBe(true);
  await screen.key("C-c");
  await screen.until("its end", (rows) => rows.some((row) => row.endsWith("ended 0")));
});
