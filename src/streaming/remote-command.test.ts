// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { fakeSession } from "../../test/fixtures/fake-session.ts";
import { openSession, type SessionClient } from "../../test/fixtures/session-client.ts";
import { connectSpdy } from "../../test/fixtures/spdy-client.ts";
import { type FakeStreaming, startFakeStreaming } from "../../test/fixtures/streaming-server.ts";
import type { CommandTarget } from "./requests.ts";

/** Every version over both transports, and whether its error stream carries objects. */
const versions = [
  ["spdy", "v4.channel.k8s.io", true],
  ["spdy", "v3.channel.k8s.io", false],
  ["spdy", "v2.channel.k8s.io", false],
  ["spdy", "channel.k8s.io", false],
  ["websocket", "v5.channel.k8s.io", true],
  ["websocket", "v4.channel.k8s.io", true],
  ["websocket", "v4.base64.channel.k8s.io", true],
  ["websocket", "channel.k8s.io", false],
  ["websocket", "base64.channel.k8s.io", false],
  ["websocket", "", false],
] as const;
type Version = (typeof versions)[number];

const IO = { stdin: true, stdout: true, stderr: true, tty: false };
const TERMINAL = { stdin: true, stdout: true, stderr: false, tty: true };
const NORMAL_CLOSURE = 1000;

function target(streams: typeof IO, kind: "exec" | "attach" = "exec"): CommandTarget {
  return kind === "exec"
    ? { kind, containerId: "c", command: ["x"], ...streams }
    : { kind, containerId: "c", ...streams };
}

function call(
  streaming: FakeStreaming,
  [transport, protocol]: Version,
  streams = IO,
): Promise<SessionClient> {
  return openSession(streaming.server.urlFor(target(streams)), transport, streams, protocol);
}

/** A client of Go's over SPDY leaves when the error stream has ended; over WebSocket the server closes. */
async function over(client: SessionClient, [transport]: Version): Promise<void> {
  if (transport === "websocket") expect(await client.closed).toBe(NORMAL_CLOSURE);
  else {
    await client.errorEnded;
    client.leave();
  }
}

async function eventually(isSo: () => boolean): Promise<void> {
  for (let round = 0; round < 400 && !isSo(); round++) await Bun.sleep(5);
  expect(isSo()).toBe(true);
}

describe.each([...versions])("over %s with %p", (...version) => {
  const [, protocol, hasObjects] = version;

  test("output, input and the exit code pass", async () => {
    await using streaming = await startFakeStreaming();
    const client = await call(streaming, version);
    const session = await streaming.session();
    session.say("stdout", "out 1\n");
    session.say("stderr", "err\n");
    session.say("stdout", "out 2\n");
    await client.write("in 1\n");
    await client.write("in 2\n");
    await eventually(() => session.stdin() === "in 1\nin 2\n");
    session.exit(3);
    await over(client, version);
    expect(client.stdout()).toBe("out 1\nout 2\n");
    expect(client.stderr()).toBe("err\n");
    if (hasObjects) {
      const { reason, details } = JSON.parse(client.error());
      expect(reason).toBe("NonZeroExitCode");
      expect(details.causes).toEqual([{ reason: "ExitCode", message: "3" }]);
    } else expect(client.error()).toBe("command terminated with non-zero exit code: exit status 3");
  });

  test("success is an object, or nothing at all", async () => {
    await using streaming = await startFakeStreaming();
    const client = await call(streaming, version);
    (await streaming.session()).exit(0);
    await over(client, version);
    expect(client.error()).toBe(hasObjects ? '{"metadata":{},"status":"Success"}' : "");
  });

  test("a terminal has sizes where the version knows them", async () => {
    await using streaming = await startFakeStreaming();
    const client = await call(streaming, version, TERMINAL);
    const session = await streaming.session();
    await client.sendSizes('{"Width":80,"Height":24}{"Width":0,"Height":7}');
    await client.resize(100, 40);
    if (protocol === "v2.channel.k8s.io" || protocol === "channel.k8s.io") await Bun.sleep(20);
    if (!/^(v2\.)?channel/.test(protocol) || version[0] === "websocket") {
      await eventually(() => session.sizes.length === 2);
      expect(session.sizes).toEqual(["80x24", "100x40"]);
    } else expect(session.sizes).toEqual([]);
    session.exit(0);
    await over(client, version);
  });
});

describe.each([versions[0], versions[4]])("over %s", (...version) => {
  const [transport] = version;

  test("the end of input reaches the process behind the input, and the session goes on", async () => {
    await using streaming = await startFakeStreaming();
    const client = await call(streaming, version);
    const session = await streaming.session();
    await client.write("last");
    client.endInput();
    await eventually(session.isStdinClosed);
    expect(session.stdin()).toBe("last");
    session.say("stdout", "answer");
    session.exit(0);
    await over(client, version);
    expect(client.stdout()).toBe("answer");
  });

  test("the end of the process ends the session while input is open", async () => {
    await using streaming = await startFakeStreaming();
    const client = await call(streaming, version);
    const session = await streaming.session();
    await client.write("x");
    session.exit(0);
    expect((await client.status()).status).toBe("Success");
    expect(session.isStdinClosed()).toBe(false);
  });

  test("what could not be started ends with its sentence", async () => {
    const exec = () => Promise.reject(new Error("container c has just ended"));
    await using streaming = await startFakeStreaming({}, { exec });
    const client = await call(streaming, version);
    expect(await client.status()).toMatchObject({
      status: "Failure",
      reason: "InternalError",
      message: "container c has just ended",
    });
  });

  test("a client that leaves, or vanishes, ends the session", async () => {
    await using streaming = await startFakeStreaming();
    for (const [index, end] of (["leave", "abort"] as const).entries()) {
      const client = await call(streaming, version);
      const session = await streaming.session(index);
      client[end]();
      await eventually(session.isClosed);
      await client.closed;
    }
  });

  test("a client that vanishes while nobody reads its input ends the session", async () => {
    const session = fakeSession({ readsStdin: false });
    await using streaming = await startFakeStreaming({}, { exec: async () => session });
    const client = await call(streaming, version);
    const flood = async () => {
      for (;;) await client.write(new Uint8Array(1024 * 1024));
    };
    const flooded = flood().catch(() => {});
    await Bun.sleep(100);
    client.abort();
    await eventually(session.isClosed);
    await flooded;
  });

  test("a session in which nothing happens is ended, one in which something does goes on", async () => {
    await using streaming = await startFakeStreaming({ idleLimitMs: 800 });
    const client = await call(streaming, version);
    const session = await streaming.session();
    for (let round = 0; round < 12; round++) {
      await Bun.sleep(100);
      if (round % 2 === 0) session.say("stdout", ".");
      else await client.write(".");
      expect(session.isClosed()).toBe(false);
    }
    expect(await client.status()).toMatchObject({ status: "Failure", reason: "InternalError" });
    expect(client.error()).toContain("for 800 ms");
    expect(session.isClosed()).toBe(true);
  });

  test("a server that closes tells its clients and ends their sessions", async () => {
    const streaming = await startFakeStreaming();
    const client = await call(streaming, version);
    const session = await streaming.session();
    const closing = streaming.server.close();
    expect((await client.status()).message).toBe("podrt serve is shutting down");
    await closing;
    expect(session.isClosed()).toBe(true);
    await client.closed;
  });

  test("an attach ends with success, whatever the container ended with", async () => {
    await using streaming = await startFakeStreaming();
    const client = await openSession(streaming.server.urlFor(target(IO, "attach")), transport, IO);
    const session = await streaming.session();
    session.say("stdout", "the last words");
    session.exit(7);
    expect((await client.status()).status).toBe("Success");
    expect(client.stdout()).toBe("the last words");
  });

  test("a slow client gets everything, after the process has ended too", async () => {
    await using streaming = await startFakeStreaming();
    const client = await call(streaming, version);
    const session = await streaming.session();
    let received = 0;
    client.onOutput((data) => {
      received += data.length;
    });
    client.socket.pause();
    const data = new Uint8Array(1024 * 1024).fill(65);
    for (let count = 0; count < 16; count++) session.say("stdout", data);
    session.exit(0);
    await Bun.sleep(300);
    expect(received).toBeLessThan(16 * data.length);
    client.socket.resume();
    expect((await client.status()).status).toBe("Success");
    expect(received).toBe(16 * data.length);
  });
});

test("over SPDY the output ends before the status comes, and the status ends before the connection does", async () => {
  await using streaming = await startFakeStreaming();
  const client = await connectSpdy(streaming.server.urlFor(target(IO)), ["v4.channel.k8s.io"]);
  const order: string[] = [];
  for (const streamtype of ["stderr", "error", "stdout", "stdin"]) {
    const stream = await client.open({ streamtype });
    void stream.ended.then((how) => order.push(`${streamtype} ${how}`));
  }
  void client.closed.then(() => order.push("closed"));
  const session = await streaming.session();
  session.say("stdout", "x");
  session.exit(0);
  await client.closed;
  expect(order).toEqual(["stdout fin", "stderr fin", "error fin", "stdin reset", "closed"]);
});

describe("of the streams that a SPDY client opens", () => {
  test("an unknown one and a second of a kind are reset, the rest is waited for", async () => {
    await using streaming = await startFakeStreaming();
    const client = await connectSpdy(streaming.server.urlFor(target(IO)), ["v4.channel.k8s.io"]);
    expect(await (await client.open({ streamtype: "video" })).ended).toBe("reset");
    expect(await (await client.open({})).ended).toBe("reset");
    await client.open({ streamtype: "error" });
    expect(await (await client.open({ streamtype: "error" })).ended).toBe("reset");
    await client.open({ streamtype: "stdin" });
    await client.open({ streamtype: "stdout" });
    await Bun.sleep(30);
    expect(streaming.sessions).toEqual([]);
    await client.open({ streamtype: "stderr" });
    (await streaming.session()).exit(0);
    await client.closed;
  });

  test("one that the request did not ask for is taken, and carries nothing", async () => {
    await using streaming = await startFakeStreaming();
    const request = { ...IO, stdin: false, stderr: false };
    const client = await connectSpdy(streaming.server.urlFor(target(request)), ["v4.channel.k8s.io"]);
    const stderr = await client.open({ streamtype: "stderr" });
    expect(await stderr.ended).toBe("fin");
    const stdin = await client.open({ streamtype: "stdin" });
    await stdin.write("nobody asked");
    const stdout = await client.open({ streamtype: "stdout" });
    await client.open({ streamtype: "error" });
    const session = await streaming.session();
    session.say("stderr", "not wanted");
    session.say("stdout", "wanted");
    session.exit(0);
    await client.closed;
    expect(Buffer.concat(stdout.received).toString()).toBe("wanted");
    expect(stderr.received).toEqual([]);
    expect(session.stdin()).toBe("");
  });

  test("all must come in time", async () => {
    await using streaming = await startFakeStreaming({ streamCreationLimitMs: 100 });
    const client = await connectSpdy(streaming.server.urlFor(target(IO)), ["v4.channel.k8s.io"]);
    await client.open({ streamtype: "error" });
    await client.closed;
    expect(streaming.sessions).toEqual([]);
  });
});
