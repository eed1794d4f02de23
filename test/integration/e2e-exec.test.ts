// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { runCommand } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerStatus, execIn, runContainer, runSandbox, secured, shellIn } from "./harness/pods.ts";
import { allPids, procText } from "./harness/proc.ts";

const fixture = useDaemon();
const RUNNING = 1;
let sandbox: string;
let container: string;

beforeAll(async () => {
  sandbox = await runSandbox(fixture.daemon, "execs");
  // A shell that reaps: what is killed must not stay as a zombie of a PID 1 that waits for nobody.
  const command = ["sh", "-c", "while :; do sleep 1; done"];
  container = await runContainer(fixture.daemon, sandbox, { name: "app", command });
});

/** A number of seconds that no other process of the machine sleeps for. */
let lastSeconds = 500_000 + Math.floor(Math.random() * 100_000) * 10;
function uniqueSeconds(): number {
  lastSeconds += 1;
  return lastSeconds;
}

/** The processes that sleep for one of these numbers of seconds. */
function sleepers(...seconds: readonly number[]): number[] {
  return allPids().filter((pid) => {
    const line = procText(`/proc/${pid}/cmdline`).split("\0");
    return line[0] === "sleep" && seconds.includes(Number(line[1]));
  });
}

/** The cgroups of execs in the container, as the kernel lists them. */
async function execCgroups(id = container): Promise<string[]> {
  // It fails when somebody else's cgroup goes while it looks.
  const { stdout } = await runCommand("find", ["/sys/fs/cgroup", "-type", "d", "-name", "exec-*"]);
  return stdout.split("\n").filter((path) => path.includes(id));
}

async function noCgroupIsLeft(): Promise<void> {
  await eventually("no cgroup of an exec is left", async () => (await execCgroups()).length === 0);
}

function execSync(command: readonly string[], timeoutSeconds: number, signal?: AbortSignal) {
  const request = { containerId: container, cmd: [...command], timeout: BigInt(timeoutSeconds) };
  return fixture.daemon.api.execSync(request, signal === undefined ? {} : { signal });
}

async function codeOf(call: Promise<unknown>): Promise<[Code, string]> {
  try {
    await call;
  } catch (error) {
    return [ConnectError.from(error).code, ConnectError.from(error).rawMessage];
  }
  throw new Error("it succeeded");
}

/** A shell, its child, one that has a session of its own, and one whose parents have gone. */
function family(seconds: readonly number[]): string {
  const [own, session, orphan, child] = seconds;
  return `setsid sleep ${session} & (setsid sh -c 'sleep ${orphan} & exit' &) ; sleep ${child} & sleep ${own}`;
}

describe("a time limit", () => {
  test("kills everything that the command has started, and the container goes on", async () => {
    const seconds = [uniqueSeconds(), uniqueSeconds(), uniqueSeconds(), uniqueSeconds()];
    const call = codeOf(execSync(["sh", "-c", family(seconds)], 2));
    await eventually("all of it runs", () => sleepers(...seconds).length === 4);
    expect(await call).toEqual([
      Code.DeadlineExceeded,
      expect.stringMatching(/^exec of sh -c setsid .* did not end within 2000 ms and was killed$/),
    ]);
    expect(sleepers(...seconds)).toEqual([]);
    expect((await containerStatus(fixture.daemon, container)).state).toBe(RUNNING);
    await noCgroupIsLeft();
  });

  test("passed by a caller who gives up kills as much", async () => {
    const seconds = [uniqueSeconds(), uniqueSeconds(), uniqueSeconds(), uniqueSeconds()];
    const caller = new AbortController();
    const call = codeOf(execSync(["sh", "-c", family(seconds)], 0, caller.signal));
    await eventually("all of it runs", () => sleepers(...seconds).length === 4);
    caller.abort();
    expect((await call)[0]).toBe(Code.Canceled);
    await eventually("all of it is gone", () => sleepers(...seconds).length === 0);
    await noCgroupIsLeft();
  });

  test("is not waited for by what has ended, though a child of it holds its output", async () => {
    const [seconds, startMs] = [uniqueSeconds(), performance.now()];
    const reply = await execSync(["sh", "-c", `sleep ${seconds} & echo said; exit 4`], 30);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    expect([Buffer.from(reply.stdout).toString(), reply.exitCode]).toEqual(["said\n", 4]);
    expect(sleepers(seconds)).toHaveLength(1);
    process.kill(sleepers(seconds)[0]!, "SIGKILL");
  });
});

test("what a command leaves running is the container's, and its cgroup goes once it has ended", async () => {
  const seconds = uniqueSeconds();
  await shellIn(fixture.daemon, container, `setsid sleep ${seconds} </dev/null >/dev/null 2>&1 &`);
  const [daemonised] = await eventually("it sleeps", () => {
    const found = sleepers(seconds);
    return found.length === 1 ? found : undefined;
  });
  await Bun.sleep(1000);
  expect(sleepers(seconds)).toHaveLength(1);
  expect(await execCgroups()).toHaveLength(1);
  process.kill(daemonised!, "SIGKILL");
  await eventually("it has ended", () => sleepers(seconds).length === 0);
  await execIn(fixture.daemon, container, "true");
  await noCgroupIsLeft();
});

describe("a command that cannot be executed", () => {
  beforeAll(async () => {
    const lines =
      "echo words > /words; echo words > /garbage; chmod +x /garbage; printf '#!/no/such' > /script";
    await shellIn(fixture.daemon, container, `${lines}; chmod +x /script; mkdir -p /opt; touch /opt/words`);
  });

  for (const [what, command, code, reason] of [
    ["that is not in PATH", "no-such", 127, /execute no-such \(looked for in PATH\): ENOENT/],
    ["that is not there", "/no/such", 127, /execute \/no\/such: ENOENT/],
    ["whose interpreter is not there", "/script", 127, /execute \/script: ENOENT/],
    ["that is a directory", "/etc", 126, /execute \/etc: EACCES/],
    ["that may not be executed", "/words", 126, /execute \/words: EACCES/],
    ["that is no program", "/garbage", 126, /execute \/garbage: ENOEXEC/],
    ["below a file", "/words/x", 126, /execute \/words\/x: ENOTDIR/],
    ["with a very long name", `/${"x".repeat(100_000)}`, 126, /execute \/x+/],
  ] as const) {
    test(`one ${what} answers ${code} and says why on stderr`, async () => {
      const reply = await execIn(fixture.daemon, container, command);
      expect([reply.code, reply.stdout]).toEqual([code, ""]);
      expect(reply.stderr).toMatch(reason);
      expect(reply.stderr).toEndWith("\n");
    });
  }

  test("says so in a stream too, with and without a terminal", async () => {
    const { daemon } = fixture;
    const plain = await daemon.podrt("exec", container, "--", "/no/such");
    expect(plain).toMatchObject({
      code: 127,
      stdout: "",
      stderr: expect.stringMatching(/\/no\/such: ENOENT/),
    });
    const terminal = await daemon.podrt("exec", "-t", container, "--", "/words");
    expect(terminal).toMatchObject({ code: 126, stdout: expect.stringMatching(/\/words: EACCES.*\r\n$/) });
  });
});

test("a directory of PATH that the user may not look into is passed over, and told of when nothing is found", async () => {
  const { daemon } = fixture;
  const hostPath = join(daemon.root, "locked");
  mkdirSync(hostPath, { mode: 0o700 });
  const sandboxId = await runSandbox(daemon, "path");
  const id = await runContainer(daemon, sandboxId, {
    name: "app",
    command: ["sleep", "3600"],
    envs: [{ key: "PATH", value: Buffer.from("/locked:/bin:/usr/bin:/nowhere") }],
    mounts: [{ hostPath, containerPath: "/locked" }],
    ...secured({ runAsUser: { value: 1000n }, capabilities: { dropCapabilities: ["ALL"] } }),
  });
  expect(await execIn(daemon, id, "id", "-u")).toEqual({ code: 0, stdout: "1000\n", stderr: "" });
  const missing = await execIn(daemon, id, "no-such");
  expect([missing.code, missing.stderr]).toEqual([126, expect.stringContaining("/locked/no-such: EACCES")]);
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
});

test("both outputs together are bounded by what a message may hold, and the rest is dropped", async () => {
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => connect(fixture.daemon.socket) },
    readMaxBytes: 16 * 1024 * 1024,
  });
  const line = "head -c 12000000 /dev/zero; head -c 12000000 /dev/zero >&2; exit 3";
  const reply = await createClient(RuntimeService, transport).execSync({
    containerId: container,
    cmd: ["sh", "-c", line],
    timeout: 30n,
  });
  expect(reply.exitCode).toBe(3);
  expect(reply.stdout.length).toBe(12_000_000);
  expect(reply.stdout.length + reply.stderr.length).toBe(16 * 1024 * 1024 - 64 * 1024);
});

describe("after many execs", () => {
  const fds = () => readdirSync(`/proc/${fixture.daemon.pid()}/fd`).length;
  const heldByMonitor = () =>
    allPids()
      .filter((pid) => procText(`/proc/${pid}/cmdline`).startsWith(`podrt-monitor\0${sandbox}\0`))
      .flatMap((pid) => readdirSync(`/proc/${pid}/fd`)).length;

  test("at once, no process, descriptor or cgroup is left", async () => {
    await execIn(fixture.daemon, container, "true");
    const before = [fds(), heldByMonitor()];
    const replies = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        execIn(fixture.daemon, container, "sh", "-c", `echo ${index}; exit ${index % 100}`),
      ),
    );
    expect(replies.map(({ code }) => code)).toEqual(Array.from({ length: 200 }, (_, index) => index % 100));
    expect(replies.map(({ stdout }) => Number(stdout))).toEqual(Array.from({ length: 200 }, (_, i) => i));
    await noCgroupIsLeft();
    await eventually("the descriptors are as before", () => {
      const now = [fds(), heldByMonitor()];
      return now[0]! <= before[0]! && now[1]! <= before[1]!;
    });
  });

  test("that all run out of time, the same", async () => {
    const before = [fds(), heldByMonitor()];
    const all: number[] = [];
    const calls = Array.from({ length: 60 }, () => {
      const seconds = [uniqueSeconds(), uniqueSeconds(), uniqueSeconds(), uniqueSeconds()];
      all.push(...seconds);
      return codeOf(execSync(["sh", "-c", family(seconds)], 1));
    });
    const codes = await Promise.all(calls);
    expect(codes.filter(([code]) => code !== Code.DeadlineExceeded)).toEqual([]);
    await eventually("all processes are gone", () => sleepers(...all).length === 0);
    await noCgroupIsLeft();
    await eventually("the descriptors are as before", () => {
      const now = [fds(), heldByMonitor()];
      return now[0]! <= before[0]! && now[1]! <= before[1]!;
    });
    expect((await containerStatus(fixture.daemon, container)).state).toBe(RUNNING);
  });
});

test("a client that vanishes takes with it all that its command has started", async () => {
  const seconds = [uniqueSeconds(), uniqueSeconds(), uniqueSeconds(), uniqueSeconds()];
  const line = ["exec", "--root", fixture.daemon.root, container, "--", "sh", "-c", family(seconds)];
  const client = Bun.spawn([binary, ...line], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  await eventually("all of it runs", () => sleepers(...seconds).length === 4);
  client.kill("SIGKILL");
  await client.exited;
  await eventually("all of it is gone", () => sleepers(...seconds).length === 0);
  await noCgroupIsLeft();
});

test("a killed daemon's execs end when it comes back; what earlier ones left running goes on", async () => {
  const { daemon } = fixture;
  const [left, seconds] = [
    uniqueSeconds(),
    [uniqueSeconds(), uniqueSeconds(), uniqueSeconds(), uniqueSeconds()],
  ];
  await shellIn(daemon, container, `setsid sleep ${left} </dev/null >/dev/null 2>&1 &`);
  const call = codeOf(execSync(["sh", "-c", family(seconds)], 0));
  await eventually("all of it runs", () => sleepers(left, ...seconds).length === 5);
  await daemon.kill();
  await call;
  await daemon.start();
  await eventually("the exec is gone", () => sleepers(...seconds).length === 0);
  expect(sleepers(left)).toHaveLength(1);
  await eventually("only its cgroup is left", async () => (await execCgroups()).length === 1);
  process.kill(sleepers(left)[0]!, "SIGKILL");
  await eventually("it has ended", () => sleepers(left).length === 0);
  await execIn(daemon, container, "true");
  await noCgroupIsLeft();
});
