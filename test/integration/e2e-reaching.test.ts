// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
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
import { keptPod } from "./harness/manifests.ts";
import { containerPid, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";
import { RunningCommand } from "./harness/running-command.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";
import { startWeb } from "./harness/web-pod.ts";

const fixture = useDaemon();
const podrt = (...words: string[]) => fixture.daemon.podrt(words[0]!, ...words.slice(1));

test("port-forward leads several ports of both families to the pod, whole and both ways, until Ctrl-C", async () => {
  await startWeb(fixture.daemon);
  await using forwarding = new RunningCommand(fixture.daemon, "port-forward", "web", ":80", ":7000", ":9");
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

test("port-forward knows ports by their names, and a Service's by its own", async () => {
  await startWeb(fixture.daemon);
  for (const [target, port, number] of [
    ["web", "echo", "echo \\(7000\\)"],
    ["svc/echoes", "7", "7 \\(7000\\)"],
  ] as const) {
    await using forwarding = new RunningCommand(fixture.daemon, "port-forward", target, `:${port}`);
    const [, local] = await forwarding.says(
      new RegExp(`127\\.0\\.0\\.1:(\\d+).* port ${number} of ${target}`),
    );
    expect((await throughPort(Number(local), Buffer.from(target))).toString()).toBe(target);
  }
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
test("the calls behind them refuse what makes no sense, with the field", async () => {
  await startWeb(fixture.daemon);
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
test("debug sees the processes and files of a container in its network, and goes", async () => {
  await startWeb(fixture.daemon);
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

test("debug joins the user namespace of a pod", async () => {
  const { daemon } = fixture;
  const logDirectory = mkdtempSync(join(tmpdir(), "podrt-debug-"));
  const podSandboxId = await runMappedSandbox(daemon, "mapped", {}, { logDirectory });
  const id = await runMapped(daemon, podSandboxId, { name: "app" });
  const tools = await podrt("debug", id, "--", "cat", "/proc/self/uid_map");
  expect(tools).toMatchObject({ code: 0, stderr: "" });
  expect(tools.stdout.trim().split(/\s+/)).toEqual(["0", "1000", "100000"]);
  await daemon.api.removePodSandbox({ podSandboxId });
  rmSync(logDirectory, { recursive: true });
});

test("a container of debug goes with the daemon that knew its owner, and one that was left to run goes on", async () => {
  const { daemon } = fixture;
  await startWeb(daemon);
  const named = async () => {
    const { containers } = await daemon.api.listContainers({});
    return new Map(containers.map(({ id, metadata }) => [`web/${metadata?.name}`, id]));
  };
  const left = await podrt("run", "--detach", "--pod", "web", "busybox", "sleep", "7661");
  expect(left).toMatchObject({ code: 0, stderr: "" });
  const others = await named();
  await using debugging = new RunningCommand(
    daemon,
    "debug",
    "web/nginx",
    "--",
    "sh",
    "-c",
    "echo up; sleep 7662",
  );
  await debugging.says(/up/);
  const [ours] = [...(await named()).values()].filter((id) => ![...others.values()].includes(id));
  const pid = await containerPid(daemon, ours!);
  await daemon.kill();
  expect(isAlive(pid)).toBe(true);
  await daemon.start();
  await eventually("its process has ended", () => !isAlive(pid), 60_000);
  expect(await named()).toEqual(others);
  expect(await debugging.ended).not.toBe(0);
  await daemon.api.removeContainer({ containerId: others.get(left.stdout.trim())! });
});

// Needs tmux, to be a person at a terminal.
test.skipIf(!hasTmux)("debug is a shell on a terminal", async () => {
  await startWeb(fixture.daemon);
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
  await startWeb(fixture.daemon);
  await using screen = await openTmux();
  await screen.type(`${binary} port-forward --root ${fixture.daemon.root} web :80; echo ended $?`);
  await screen.until("how to end it", (rows) => rows.includes("Ctrl-C ends it."));
  const [line] = (await screen.rows()).filter((row) => row.includes(" to port 80 of web"));
  const port = /127\.0\.0\.1:(\d+)/.exec(line ?? "")?.[1];
  expect((await fetch(`http://127.0.0.1:${port}/`)).ok).toBe(true);
  await screen.key("C-c");
  await screen.until("its end", (rows) => rows.some((row) => row.endsWith("ended 0")));
});
