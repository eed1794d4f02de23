// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { openSession, type Streams, transports } from "../fixtures/session-client.ts";
import { startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { createContainer, execIn, runContainer, runSandbox } from "./harness/pods.ts";
import { allPids, isAlive, procText } from "./harness/proc.ts";

const fixture = useDaemon();

const io: Streams = { stdin: true, stdout: true, stderr: true };
const output: Streams = { stdout: true, stderr: true };
const terminal: Streams = { stdin: true, stdout: true, tty: true };

let names = 0;

async function newContainer(config: object = {}): Promise<string> {
  const sandbox = await runSandbox(fixture.daemon, `exec-${names++}`);
  return runContainer(fixture.daemon, sandbox, { name: "app", ...config });
}

async function execUrl(containerId: string, cmd: readonly string[], streams: Streams): Promise<string> {
  return (await fixture.daemon.api.exec({ containerId, cmd: [...cmd], ...streams })).url;
}

/** Processes of the machine with this command line; each test asks for a number of its own. */
function processesWith(...words: readonly string[]): number[] {
  const wanted = `${words.join("\0")}\0`;
  return allPids().filter((pid) => isAlive(pid) && procText(`/proc/${pid}/cmdline`) === wanted);
}

describe("Exec answers", () => {
  const refused = async (request: object) => {
    const error = await fixture.daemon.api.exec(request).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConnectError);
    return error as ConnectError;
  };

  test("InvalidArgument for what makes no sense, by field", async () => {
    const containerId = await newContainer();
    const ok = { containerId, cmd: ["true"], stdout: true };
    const bad: readonly (readonly [object, string])[] = [
      [{ ...ok, containerId: "" }, "container_id: "],
      [{ ...ok, cmd: [] }, "cmd: "],
      [{ ...ok, cmd: [""] }, "cmd[0]: "],
      [{ ...ok, cmd: ["a\0b"] }, "cmd[0]: "],
      [{ ...ok, cmd: ["echo", "x".repeat(200_000)] }, "cmd[1]: "],
      [{ ...ok, stdout: false }, "stdout: "],
      [{ ...ok, tty: true, stderr: true }, "stderr: "],
    ];
    for (const [request, beginning] of bad) {
      const error = await refused(request);
      expect(error.code).toBe(Code.InvalidArgument);
      expect(error.rawMessage).toStartWith(beginning);
    }
  });

  test("NotFound and FailedPrecondition where nothing can run, and takes the beginning of an id", async () => {
    const sandbox = await runSandbox(fixture.daemon, "exec-states");
    const created = await createContainer(fixture.daemon, sandbox, { name: "created" });
    const ended = await runContainer(fixture.daemon, sandbox, { name: "ended", command: ["true"] });
    const running = await runContainer(fixture.daemon, sandbox, { name: "running" });
    const request = (containerId: string) => ({ containerId, cmd: ["true"], stdout: true });
    expect((await refused(request("feedface"))).code).toBe(Code.NotFound);
    expect((await refused(request(created))).code).toBe(Code.FailedPrecondition);
    await eventually("the container has ended", async () => {
      const error = await refused(request(ended));
      return error.code === Code.FailedPrecondition && error.rawMessage.includes("exited");
    });
    const { url } = await fixture.daemon.api.exec(request(running.slice(0, 13)));
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]+$/);
  });
});

describe.each([...transports])("over %s", (transport) => {
  const open = async (containerId: string, cmd: readonly string[], streams: Streams) =>
    openSession(await execUrl(containerId, cmd, streams), transport, streams);

  test("a command has the container's environment, its streams and its exit code", async () => {
    const id = await newContainer({
      envs: [{ key: "COLOUR", value: Buffer.from("green") }],
      workingDir: "/tmp",
    });
    const line = "echo $COLOUR $PWD; readlink /proc/self/fd/0; echo problem >&2; exit 42";
    const session = await open(id, ["sh", "-c", line], output);
    const { details } = await session.status();
    expect(details?.causes).toEqual([{ reason: "ExitCode", message: "42" }]);
    expect(session.stdout()).toBe("green /tmp\n/dev/null\n");
    expect(session.stderr()).toBe("problem\n");
  });

  test("input ends with the client's half close; output goes on behind it", async () => {
    const id = await newContainer();
    const session = await open(id, ["sh", "-c", "wc -c; sleep 0.3; echo after"], io);
    await session.write("x".repeat(300_000));
    session.endInput();
    expect((await session.status()).status).toBe("Success");
    expect(session.stdout().split(/\s+/).filter(Boolean)).toEqual(["300000", "after"]);
  });

  test("a command that ends while its client still writes ends the session with its code", async () => {
    const id = await newContainer();
    const session = await open(id, ["sh", "-c", "head -c 5; exit 9"], io);
    const flood = (async () => {
      for (let count = 0; count < 64; count++) await session.write(Buffer.alloc(1 << 20, "y"));
    })().catch(() => {});
    expect((await session.status()).details?.causes[0]?.message).toBe("9");
    expect(session.stdout()).toBe("yyyyy");
    session.leave();
    await flood;
  });

  test("what a command has written arrives whole, however slowly it is read and however early it ended", async () => {
    const id = await newContainer();
    const session = await open(id, ["sh", "-c", "head -c 20000000 /dev/zero; echo problem >&2"], output);
    let received = 0;
    session.onOutput((data) => {
      received += data.length;
    });
    for (let pause = 0; pause < 12; pause++) {
      session.socket.pause();
      await Bun.sleep(150);
      session.socket.resume();
      await Bun.sleep(5);
    }
    expect((await session.status()).status).toBe("Success");
    expect(received).toBe(20_000_000 + "problem\n".length);
  });

  test("a client that reads nothing holds the command back", async () => {
    const id = await newContainer();
    const session = await open(id, ["sh", "-c", "head -c 200000000 /dev/zero; echo > /tmp/done"], output);
    session.socket.pause();
    await Bun.sleep(1000);
    expect((await execIn(fixture.daemon, id, "cat", "/tmp/done")).code).toBe(1);
    session.abort();
  });

  test("a child that is left behind with the streams open does not keep the session", async () => {
    const id = await newContainer();
    const startMs = performance.now();
    const session = await open(id, ["sh", "-c", "sleep 3598 & echo done"], output);
    expect((await session.status()).status).toBe("Success");
    expect(session.stdout()).toBe("done\n");
    expect(performance.now() - startMs).toBeLessThan(20_000);
    // It is the container's from then on.
    expect(processesWith("sleep", "3598")).toHaveLength(1);
    await execIn(fixture.daemon, id, "killall", "sleep");
  });

  test("a terminal has the client's size, is the command's own, and carries both streams as one", async () => {
    const id = await newContainer();
    const session = await open(id, ["sh"], terminal);
    await session.resize(123, 45);
    await eventually("the size is the terminal's", async () => {
      await session.write("stty size; echo $TERM >&2; tty\n");
      await Bun.sleep(50);
      return session.stdout().includes("45 123");
    });
    await session.sendSizes('{"Width":0,"Height":0}{"Width":66,');
    await session.sendSizes('"Height":33}');
    await eventually("the size has changed", async () => {
      await session.write("stty size\n");
      await Bun.sleep(50);
      return session.stdout().includes("33 66");
    });
    expect(session.stdout()).toContain("xterm");
    expect(session.stdout()).toMatch(/\/dev\/pts\/\d/);
    await session.write("exit 4\n");
    expect((await session.status()).details?.causes[0]?.message).toBe("4");
  });

  test("a client that vanishes takes the command with it, and all that the command has started", async () => {
    const id = await newContainer();
    const seconds = transport === "spdy" ? "3597" : "3596";
    const line = `sleep ${seconds} & setsid sleep ${seconds} & trap "" HUP TERM; wait`;
    for (const end of ["abort", "leave"] as const) {
      const session = await open(id, ["sh", "-c", line], io);
      await eventually("the command runs", () => processesWith("sleep", seconds).length === 2);
      session[end]();
      await eventually("nothing of it is left", () => processesWith("sleep", seconds).length === 0);
    }
    const onTerminal = await open(id, ["sleep", seconds], terminal);
    await eventually("the command runs", () => processesWith("sleep", seconds).length === 1);
    onTerminal.abort();
    await eventually("nothing of it is left", () => processesWith("sleep", seconds).length === 0);
    expect((await execIn(fixture.daemon, id, "true")).code).toBe(0);
  });

  test("a container that ends takes the session with it", async () => {
    const id = await newContainer();
    const session = await open(id, ["sh", "-c", "echo here; sleep 3600"], io);
    await eventually("the command runs", () => session.stdout() === "here\n");
    await fixture.daemon.api.stopContainer({ containerId: id, timeout: 0n });
    expect((await session.status()).details?.causes[0]?.message).toBe("137");
  });

  test("a container that ended after its URL was given out is said on the error stream", async () => {
    const id = await newContainer();
    const url = await execUrl(id, ["true"], output);
    await fixture.daemon.api.stopContainer({ containerId: id, timeout: 0n });
    const session = await openSession(url, transport, output);
    expect(await session.status()).toMatchObject({ status: "Failure", reason: "InternalError" });
    expect(session.error()).toContain("is exited, not running");
  });
});

test("a daemon that stops tells its clients, and leaves no command of theirs behind", async () => {
  const daemon = await startDaemon({ mirror: fixture.registry.host });
  try {
    const sandbox = await runSandbox(daemon, "stopping");
    const containerId = await runContainer(daemon, sandbox, { name: "app" });
    const sessions = await Promise.all(
      transports.map(async (transport) => {
        const { url } = await daemon.api.exec({ containerId, cmd: ["sleep", "3595"], ...io });
        return openSession(url, transport, io);
      }),
    );
    await eventually("the commands run", () => processesWith("sleep", "3595").length === 2);
    const startMs = performance.now();
    process.kill(daemon.pid(), "SIGTERM");
    for (const session of sessions) expect((await session.status()).message).toContain("shutting down");
    await eventually("the commands have ended", () => processesWith("sleep", "3595").length === 0);
    await eventually("the daemon has ended", () => !isAlive(daemon.pid()));
    expect(performance.now() - startMs).toBeLessThan(15_000);
    await daemon.start();
    expect((await execIn(daemon, containerId, "true")).code).toBe(0);
  } finally {
    await daemon.close();
  }
}, 60_000);
