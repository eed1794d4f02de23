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
  target = "demo",
) {
  const ctrlC = new AbortController();
  const said = Promise.withResolvers<void>();
  let out = "";
  const outcome = runCommand(daemon.socketPath, ["port-forward", target, ...ports], {
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

  /** The ports of app1, as a kubelet and podrt note them, and the Services of its pod. */
  function name(daemon: FakeDaemon) {
    populate(daemon);
    const port = (name: string, containerPort: number, protocol = "TCP") => ({
      name,
      containerPort,
      protocol,
    });
    const ports = [port("http", 8080), port("dns", 53, "UDP"), { containerPort: 9 }];
    daemon.containers[0]!.annotations = { "io.kubernetes.container.ports": JSON.stringify(ports) };
    const servicePort = (name: string, port: number, target: string) => ({
      name,
      port,
      target,
      protocol: "TCP",
    });
    daemon.pods[0]!.services = [
      { name: "web", ports: [servicePort("plain", 80, "http"), servicePort("", 9000, "9001")] },
      { name: "gone", ports: [servicePort("", 80, "nothing")] },
    ];
  }

  test("knows a container's ports by name, and those of a Service, which lead to ports of one of its pods", async () => {
    await using daemon = await startFakeDaemon({ pods: { portForward: echoPod() } });
    name(daemon);
    const ask = async (target: string, ...ports: string[]) => {
      const answers: string[] = [];
      const { out, err } = await whileForwarding(
        daemon,
        ports,
        async (addresses) => {
          for (const address of addresses.filter(({ host }) => host === "127.0.0.1"))
            answers.push(await askedAt(address, "x"));
        },
        target,
      );
      expect(err).toBe("");
      return {
        answers,
        told: out
          .trimEnd()
          .split("\n")
          .map((line) => line.replace(/^.* to /, "")),
      };
    };
    expect(await ask("demo", ":http")).toEqual({ answers: ["8080:x"], told: ["port http (8080) of demo"] });
    expect(await ask("pod/demo", ":80")).toEqual({ answers: ["80:x"], told: ["port 80 of demo"] });
    expect(await ask("svc/web", ":80", ":plain", ":9000")).toEqual({
      answers: ["8080:x", "8080:x", "9001:x"],
      told: ["port 80 (8080) of svc/web", "port plain (8080) of svc/web", "port 9000 (9001) of svc/web"],
    });
    expect((await ask("service/default/web", ":80")).answers).toEqual(["8080:x"]);
    // A pod in a namespace of this name is a pod.
    daemon.pods.push({
      ...daemon.pods[0]!,
      name: { namespace: "svc", name: "web", uid: "u3" },
      services: [],
    });
    daemon.sandboxes.push({
      ...daemon.sandboxes[0]!,
      id: id("7"),
      metadata: { name: "web", namespace: "svc", uid: "u3", attempt: 0 },
    });
    expect((await ask("svc/web", ":80")).told).toEqual(["port 80 of svc/web"]);
  });

  test("says which names there are instead of one that nobody has, and what cannot be led to", async () => {
    await using daemon = await startFakeDaemon();
    name(daemon);
    const failureOf = async (...argv: string[]) => {
      const { exitCode, err } = await runCommand(daemon.socketPath, ["port-forward", ...argv]);
      expect(exitCode).toBe(1);
      return err.replace(/^podrt: |\n$/g, "");
    };
    expect(await failureOf("demo", "htp")).toBe(
      "no container of pod demo names a port htp; there is http (8080), dns (53)",
    );
    expect(await failureOf("kube-system/other", "http")).toBe(
      "no container of pod kube-system/other names a port http; name it by its number",
    );
    expect(await failureOf("demo", "53:dns")).toBe(
      "port dns of pod demo is one of UDP, and only TCP can be led to it",
    );
    expect(await failureOf("svc/web", "8080")).toBe(
      "Service web has no port 8080; there is 80 (plain), 9000",
    );
    expect(await failureOf("svc/gone", "80")).toStartWith("no container of pod demo names a port nothing; ");
    expect(await failureOf("svc/wep", "80")).toBe("there is no Service wep; did you mean web?");
    expect(await failureOf("svc/other", "80")).toBe("there is no Service other; there is web, gone");
    // A name has the number that another has.
    const twice = await runCommand(daemon.socketPath, ["port-forward", "demo", "http", "8080"]);
    expect([twice.exitCode, twice.err]).toEqual([
      2,
      "podrt: local port 8080 is named twice; each leads to one port\n",
    ]);
    daemon.sandboxes = [];
    expect(await failureOf("svc/web", "80")).toBe(
      "none of the pods of Service web runs, so nothing listens there; `podrt why demo` tells more",
    );
    daemon.pods = [];
    expect(await failureOf("svc/web", "80")).toBe(
      "there is no Service web; no pod that is kept has one in its manifest",
    );
  });

  test("refuses what is no port, a pod that does not run, and a port that is taken", async () => {
    await using daemon = await startFakeDaemon();
    populate(daemon);
    for (const word of ["0", "80:0", "HTTP", "65536", "1:2:3", "8080:", "99999:80", "8080:-x"]) {
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
