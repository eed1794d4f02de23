// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, type ConnectError } from "@connectrpc/connect";
import { openSession, type SessionClient, type Streams, transports } from "../fixtures/session-client.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerStatus,
  createContainer,
  exited,
  runContainer,
  runSandbox,
  sandboxStatus,
} from "./harness/pods.ts";
import { memoryOf } from "./harness/proc.ts";

const fixture = useDaemon();

const MIB = 1024 * 1024;
const RUNNING = 1;
const READY = 0;
const io: Streams = { stdin: true, stdout: true, stderr: true };
const output: Streams = { stdout: true, stderr: true };

let names = 0;

async function newContainer(config: object): Promise<{ id: string; log: string; sandboxId: string }> {
  const name = `attach-${names++}`;
  const logDirectory = join(fixture.daemon.root, "logs", name);
  mkdirSync(logDirectory, { recursive: true });
  const sandboxId = await runSandbox(fixture.daemon, name, {
    metadata: { name, namespace: "default", uid: name },
    logDirectory,
  });
  const id = await runContainer(fixture.daemon, sandboxId, { name: "app", logPath: "app.log", ...config });
  return { id, log: join(logDirectory, "app.log"), sandboxId };
}

/** What the records of a log say: the time, the stream, F for a whole line or P for a part of one, and the text. */
function contentOf(log: string): string {
  const records = readFileSync(log, "utf8").split("\n").slice(0, -1);
  return records
    .map((record) => record.split(" "))
    .map(([_time, _stream, tag, ...text]) => text.join(" ") + (tag === "F" ? "\n" : ""))
    .join("");
}

const echoing = (more: object = {}) => ({
  command: ["sh", "-c", "while read line; do echo got $line; done; echo bye >&2; exit 7"],
  stdin: true,
  ...more,
});

test("Attach refuses what makes no sense, and containers that do not run", async () => {
  const sandbox = await runSandbox(fixture.daemon, "attach-refused");
  const created = await createContainer(fixture.daemon, sandbox, { name: "created" });
  const running = await runContainer(fixture.daemon, sandbox, { name: "running" });
  const bad: readonly (readonly [object, Code, string])[] = [
    [{ containerId: "", stdout: true }, Code.InvalidArgument, "container_id: "],
    [{ containerId: running }, Code.InvalidArgument, "stdout: "],
    [{ containerId: running, stdout: true, stderr: true, tty: true }, Code.InvalidArgument, "stderr: "],
    [{ containerId: "feedface", stdout: true }, Code.NotFound, ""],
    [{ containerId: created, stdout: true }, Code.FailedPrecondition, ""],
  ];
  for (const [request, code, beginning] of bad) {
    const error = await fixture.daemon.api.attach(request).catch((reason: unknown) => reason);
    expect((error as ConnectError).code).toBe(code);
    expect((error as ConnectError).rawMessage).toStartWith(beginning);
  }
  const { url } = await fixture.daemon.api.attach({ containerId: running.slice(0, 12), stdout: true });
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/attach\/[\w-]+$/);
});

describe.each([...transports])("over %s", (transport) => {
  const attach = async (containerId: string, streams: Streams = io): Promise<SessionClient> => {
    const { url } = await fixture.daemon.api.attach({ containerId, ...streams });
    return openSession(url, transport, streams);
  };

  test("all clients of a container see what it writes from now on, and it goes to the log as well", async () => {
    const { id, log } = await newContainer(echoing());
    const first = await attach(id);
    await first.write("one\n");
    await eventually("the first sees it", () => first.stdout() === "got one\n");
    const second = await attach(id);
    const watching = await attach(id, output);
    await second.write("two\n");
    for (const client of [second, watching]) {
      await eventually("the others see it too", () => client.stdout() === "got two\n");
    }
    await eventually("and the first", () => first.stdout() === "got one\ngot two\n");
    second.abort();
    await first.write("three\n");
    await eventually("what is left goes on", () => watching.stdout() === "got two\ngot three\n");
    await fixture.daemon.api.stopContainer({ containerId: id, timeout: 0n });
    expect((await first.status()).status).toBe("Success");
    expect((await watching.status()).status).toBe("Success");
    expect(contentOf(log)).toBe("got one\ngot two\ngot three\n");
  });

  test("without stdin_once a client's end of input, and its leaving, change nothing for the container", async () => {
    const { id } = await newContainer(echoing());
    const first = await attach(id);
    await first.write("one\n");
    first.endInput();
    await eventually("it is read", () => first.stdout() === "got one\n");
    first.leave();
    await first.closed;
    const second = await attach(id);
    await second.write("two\n");
    await eventually("the container reads on", () => second.stdout() === "got two\n");
    expect((await containerStatus(fixture.daemon, id)).state).toBe(RUNNING);
    second.abort();
  });

  test("with stdin_once the first client's end of input is the container's", async () => {
    const { id } = await newContainer(echoing({ stdinOnce: true }));
    const [first, second] = [await attach(id), await attach(id)];
    await first.write("last line\n");
    first.endInput();
    expect((await first.status()).status).toBe("Success");
    expect(first.stdout()).toBe("got last line\n");
    expect(first.stderr()).toBe("bye\n");
    expect((await second.status()).status).toBe("Success");
    expect((await exited(fixture.daemon, id)).exitCode).toBe(7);
  });

  test("and so is its disconnecting, but not that of one without stdin", async () => {
    const { id } = await newContainer(echoing({ stdinOnce: true }));
    const watching = await attach(id, output);
    watching.abort();
    const first = await attach(id);
    await first.write("one\n");
    await eventually("it is read", () => first.stdout() === "got one\n");
    first.abort();
    expect((await exited(fixture.daemon, id)).exitCode).toBe(7);
  });

  test("a stdin that was closed stays closed over a restart of the daemon, which takes up the rest", async () => {
    const { id, sandboxId } = await newContainer({
      command: ["sh", "-c", "cat; while :; do echo after the end; sleep 0.1; done"],
      stdin: true,
      stdinOnce: true,
    });
    const first = await attach(id);
    first.endInput();
    await eventually("the container has read its end", () => first.stdout().includes("after the end\n"));
    await fixture.daemon.kill();
    await fixture.daemon.start();
    expect((await sandboxStatus(fixture.daemon, sandboxId)).state).toBe(READY);
    const second = await attach(id);
    await second.write("into nothing");
    await eventually("its output is read", () => second.stdout().includes("after the end\n"));
    expect(second.stdout()).not.toContain("into nothing");
    second.leave();
  });

  test("a stdin that is open is taken back after a restart", async () => {
    const { id } = await newContainer(echoing({ stdinOnce: true }));
    await fixture.daemon.kill();
    await fixture.daemon.start();
    const client = await attach(id);
    await client.write("still here\n");
    await eventually("it is read", () => client.stdout() === "got still here\n");
    client.endInput();
    expect((await client.status()).status).toBe("Success");
  });

  test("a container's terminal is shared, and takes its size from a client", async () => {
    const { id } = await newContainer({ command: ["sh"], stdin: true, tty: true });
    const client = await attach(id, { stdin: true, stdout: true, tty: true });
    await client.resize(91, 17);
    await eventually("the shell shows the size", async () => {
      await client.write("stty size\n");
      await Bun.sleep(50);
      return client.stdout().includes("17 91");
    });
    client.endInput();
    client.leave();
    await client.closed;
    expect((await containerStatus(fixture.daemon, id)).state).toBe(RUNNING);
    const next = await attach(id, { stdin: true, stdout: true, tty: true });
    await next.write("exit 3\n");
    expect((await next.status()).status).toBe("Success");
    expect((await exited(fixture.daemon, id)).exitCode).toBe(3);
  });

  test("a slow client holds neither the container nor its log nor others back, and gets everything", async () => {
    const lines = 400_000;
    const { id, log } = await newContainer({
      command: ["sh", "-c", `read go; seq -w 1 ${lines}; sleep 1; echo end`],
      stdin: true,
    });
    const slow = await attach(id);
    const quick = await attach(id, output);
    const expected = lines * 7 + 4;
    let [slowBytes, quickBytes] = [0, 0];
    slow.onOutput(({ length }) => {
      slowBytes += length;
    });
    quick.onOutput(({ length }) => {
      quickBytes += length;
    });
    await slow.write("go\n");
    slow.socket.pause();
    expect((await quick.status()).status).toBe("Success");
    expect(quickBytes).toBe(expected);
    expect((await exited(fixture.daemon, id)).exitCode).toBe(0);
    expect(contentOf(log).length).toBe(expected);
    expect(slowBytes).toBeLessThan(expected);
    slow.socket.resume();
    expect((await slow.status()).status).toBe("Success");
    expect(slowBytes).toBe(expected);
  }, 60_000);

  test("a client that reads nothing does not fill the daemon's memory", async () => {
    const { id } = await newContainer({
      command: ["sh", "-c", "read go; head -c 150000000 /dev/zero | tr '\\0' '\\n'"],
      stdin: true,
      logPath: "",
    });
    const client = await attach(id);
    client.socket.pause();
    await client.write("go\n");
    const before = memoryOf(fixture.daemon.pid())["Rss"]!;
    await exited(fixture.daemon, id, 60_000);
    expect(memoryOf(fixture.daemon.pid())["Rss"]! - before).toBeLessThan(96 * MIB);
    client.abort();
  }, 90_000);
});
