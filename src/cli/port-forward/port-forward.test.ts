// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { connect, createServer } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import type { PortForwardRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate } from "../fake-pods.ts";

const text = (data: Uint8Array) => new TextDecoder().decode(data);
const bytes = (data: string) => new TextEncoder().encode(data);

/** A pod that answers, once its client has ended, with what it was sent; `refuse` may throw first. */
function echoPod(refuse: (port: number, sandboxId: string) => void = () => {}) {
  return async function* portForward(requests: AsyncIterable<PortForwardRequest>) {
    let said = "";
    for await (const { message } of requests) {
      if (message.case === "start") {
        refuse(message.value.port, message.value.podSandboxId);
        said += `${message.value.port}:`;
        yield { message: { case: "connected" as const, value: true } };
      } else if (message.case === "data") said += text(message.value);
    }
    yield { message: { case: "data" as const, value: bytes(said) } };
    yield { message: { case: "ended" as const, value: true } };
  };
}

/** Runs the command until `work`, which gets what it listens on, is done. */
async function whileForwarding(
  daemon: FakeDaemon,
  ports: string[],
  work: (addresses: { host: string; port: number }[]) => Promise<void>,
) {
  const ctrlC = new AbortController();
  const said = Promise.withResolvers<void>();
  let out = "";
  const outcome = runCommand(daemon.socketPath, ["port-forward", "demo", ...ports], {
    interrupted: ctrlC.signal,
    onOut: (added) => {
      out += added;
      if (out.split("\n").length > ports.length) said.resolve();
    },
  });
  await Promise.race([said.promise, outcome]);
  const found = [...out.matchAll(/(127\.0\.0\.1|\[::1\]):(\d+)/g)];
  await work(found.map((match) => ({ host: match[1]!.replace(/[[\]]/g, ""), port: Number(match[2]) })));
  ctrlC.abort();
  return await outcome;
}

function askedAt({ host, port }: { host: string; port: number }, question: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.on("data", (data) => (answer += data.toString()));
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
    socket.on("end", () => socket.end());
    socket.end(question);
  });
}

describe("port-forward", () => {
  test("leads each port of both families to the pod, passes half closes on, and ends with Ctrl-C", async () => {
    await using daemon = await startFakeDaemon({ pods: { portForward: echoPod() } });
    populate(daemon);
    const answers: string[] = [];
    const { exitCode, out, err } = await whileForwarding(daemon, [":80", ":5432"], async (addresses) => {
      for (const address of addresses) answers.push(await askedAt(address, "x".repeat(300_000)));
    });
    expect(exitCode).toBe(0);
    expect(err).toBe("");
    const both = out.includes("[::1]");
    const expected = ["80", "5432"].flatMap((port) => (both ? [port, port] : [port]));
    expect(answers).toEqual(expected.map((port) => `${port}:${"x".repeat(300_000)}`));
    expect(out).toMatch(
      /^127\.0\.0\.1:\d+ (and \[::1\]:\d+ )?leads? to port 80 of demo\n.*port 5432 of demo\n$/,
    );
  });

  test("says why a connection failed and goes on", async () => {
    let isUp = false;
    const refuse = () => {
      if (!isUp)
        throw new ConnectError("cannot connect to port 80 of the pod: ECONNREFUSED", Code.Unavailable);
    };
    await using daemon = await startFakeDaemon({ pods: { portForward: echoPod(refuse) } });
    populate(daemon);
    const answers: string[] = [];
    const { exitCode, err } = await whileForwarding(daemon, [":80"], async ([address]) => {
      answers.push(await askedAt(address!, "lost"));
      isUp = true;
      answers.push(await askedAt(address!, "kept"));
    });
    expect(answers).toEqual(["", "80:kept"]);
    expect(err).toBe("podrt: port 80: cannot connect to port 80 of the pod: ECONNREFUSED\n");
    expect(exitCode).toBe(0);
  });

  test("refuses a local port that is named twice", async () => {
    await using daemon = await startFakeDaemon();
    const { err, exitCode } = await runCommand(daemon.socketPath, ["port-forward", "demo", "81:80", "81"]);
    expect(err).toBe("podrt: local port 81 is named twice; each leads to one port\n");
    expect(exitCode).toBe(2);
  });

  test("follows a pod that was made anew without losing what a connection has sent", async () => {
    const refuse = (_: number, sandboxId: string) => {
      if (sandboxId !== id("f")) throw new ConnectError("there is no pod sandbox", Code.NotFound);
    };
    await using daemon = await startFakeDaemon({ pods: { portForward: echoPod(refuse) } });
    populate(daemon);
    const answers: string[] = [];
    const { err } = await whileForwarding(daemon, [":80"], async ([address]) => {
      daemon.sandboxes = daemon.sandboxes.map((sandbox) =>
        sandbox.id === id("a") ? { ...sandbox, id: id("f") } : sandbox,
      );
      answers.push(await askedAt(address!, "first"));
    });
    expect(answers).toEqual(["80:first"]);
    expect(err).toBe("");
  });

  test("refuses what is no port, a pod that does not run, and a port that is taken", async () => {
    await using daemon = await startFakeDaemon();
    populate(daemon);
    for (const word of ["0", "80:0", "http", "65536", "1:2:3", "8080:"]) {
      const { exitCode, err } = await runCommand(daemon.socketPath, ["port-forward", "demo", word]);
      expect({ word, exitCode }).toEqual({ word, exitCode: 2 });
      expect(err).toContain(`${word} is not [LOCAL:]REMOTE`);
    }
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const taken = await runCommand(daemon.socketPath, ["port-forward", "demo", ":81", `${port}:80`]);
    server.close();
    expect(taken.exitCode).toBe(1);
    expect(taken.err).toContain(`port ${port} of this machine's loopback: something listens there already`);
    daemon.sandboxes = [];
    const ended = await runCommand(daemon.socketPath, ["port-forward", "demo", "80"]);
    expect(ended.exitCode).toBe(1);
    expect(ended.err).toContain("pod demo does not run");
  });
});
