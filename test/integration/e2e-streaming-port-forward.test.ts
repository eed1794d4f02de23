// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { Code, type ConnectError } from "@connectrpc/connect";
import { type ClientStream, connectSpdy, type SpdyClient } from "../fixtures/spdy-client.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runContainer, runSandbox, shellIn } from "./harness/pods.ts";

const fixture = useDaemon();

const NODE = 2;
const MIB = 1024 * 1024;

async function forwardTo(podSandboxId: string): Promise<SpdyClient> {
  const { url } = await fixture.daemon.api.portForward({ podSandboxId });
  return connectSpdy(url, ["portforward.k8s.io"]);
}

async function openPair(client: SpdyClient, port: number, id: number) {
  const headers = { port: String(port), requestid: String(id) };
  const error = await client.open({ ...headers, streamtype: "error" });
  return { error, data: await client.open({ ...headers, streamtype: "data" }) };
}

const textOf = (stream: ClientStream) => Buffer.concat(stream.received).toString();

/** Waits until something in the container listens, as the kernel tells it; 0A is LISTEN (proc_net_tcp(5)). */
function listens(containerId: string, port: number): Promise<true> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return eventually(`port ${port} is listened on`, async () => {
    const text = await shellIn(fixture.daemon, containerId, "cat /proc/net/tcp /proc/net/tcp6");
    return new RegExp(`:${hex} \\S+ 0A `).test(text);
  });
}

test("PortForward refuses what makes no sense, and sandboxes that are not ready", async () => {
  const stopped = await runSandbox(fixture.daemon, "forward-stopped");
  await fixture.daemon.api.stopPodSandbox({ podSandboxId: stopped });
  const ready = await runSandbox(fixture.daemon, "forward-ready");
  const bad: readonly (readonly [object, Code, string])[] = [
    [{ podSandboxId: "" }, Code.InvalidArgument, "pod_sandbox_id: "],
    [{ podSandboxId: ready, port: [80, 65_536] }, Code.InvalidArgument, "port[1]: "],
    [{ podSandboxId: ready, port: [-1] }, Code.InvalidArgument, "port[0]: "],
    [{ podSandboxId: ready, port: [0] }, Code.InvalidArgument, "port[0]: "],
    [{ podSandboxId: ready, port: Array(101).fill(80) }, Code.InvalidArgument, "port: "],
    [{ podSandboxId: "feedface" }, Code.NotFound, ""],
    [{ podSandboxId: stopped }, Code.FailedPrecondition, ""],
  ];
  for (const [request, code, beginning] of bad) {
    const error = await fixture.daemon.api.portForward(request).catch((reason: unknown) => reason);
    expect((error as ConnectError).code).toBe(code);
    expect((error as ConnectError).rawMessage).toStartWith(beginning);
  }
  const { url } = await fixture.daemon.api.portForward({ podSandboxId: ready.slice(0, 12), port: [80] });
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/portforward\/[\w-]+$/);
});

test("connections are made inside the pod: to its loopback, over IPv4 and IPv6", async () => {
  const sandbox = await runSandbox(fixture.daemon, "forward-families");
  const container = await runContainer(fixture.daemon, sandbox, {
    name: "app",
    command: [
      "sh",
      "-c",
      "mkdir 4 6; echo four > 4/x; echo six > 6/x; httpd -h 4 -p 127.0.0.1:7004; httpd -f -h 6 -p [::1]:7006",
    ],
  });
  await listens(container, 7004);
  await listens(container, 7006);
  const client = await forwardTo(sandbox);
  const four = await openPair(client, 7004, 0);
  const six = await openPair(client, 7006, 1);
  for (const { data } of [four, six]) await data.write("GET /x HTTP/1.0\r\n\r\n");
  expect(await four.data.ended).toBe("fin");
  expect(await six.data.ended).toBe("fin");
  expect(textOf(four.data)).toEndWith("\r\n\r\nfour\n");
  expect(textOf(six.data)).toEndWith("\r\n\r\nsix\n");
  // Nobody has it outside, and what is only outside is not there.
  const outside = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { error } = await openPair(client, outside.port, 2);
  await error.ended;
  outside.stop(true);
  expect(textOf(error)).toContain("ECONNREFUSED");
  client.socket.destroy();
});

test("a pod in the host's network is connected to there", async () => {
  const sandbox = await runSandbox(fixture.daemon, "forward-host", {
    metadata: { name: "forward-host", namespace: "default", uid: "forward-host" },
    linux: { securityContext: { namespaceOptions: { network: NODE } } },
  } as never);
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data() {},
      open(socket) {
        socket.end("from the host");
      },
    },
  });
  const client = await forwardTo(sandbox);
  const { data } = await openPair(client, server.port, 0);
  expect(await data.ended).toBe("fin");
  expect(textOf(data)).toBe("from the host");
  client.socket.destroy();
  server.stop(true);
});

test("much goes through both ways, byte for byte, with half closes, many at once", async () => {
  const sandbox = await runSandbox(fixture.daemon, "forward-much");
  const container = await runContainer(fixture.daemon, sandbox, {
    name: "app",
    command: ["nc", "-ll", "-p", "7000", "-e", "cat"],
  });
  await listens(container, 7000);
  const client = await forwardTo(sandbox);
  await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const { data, error } = await openPair(client, 7000, index);
      const block = Buffer.from(
        Array.from({ length: 64 * 1024 }, (_value, place) => (place * (index + 3)) % 253),
      );
      const received = new Bun.CryptoHasher("sha256");
      const sent = new Bun.CryptoHasher("sha256");
      data.onData = (bytes) => void received.update(bytes);
      for (let count = 0; count < (4 * MIB) / block.length; count++) {
        sent.update(block);
        await data.write(block);
      }
      data.end();
      expect(await data.ended).toBe("fin");
      expect(received.digest("hex")).toBe(sent.digest("hex"));
      expect(await error.ended).toBe("fin");
      expect(textOf(error)).toBe("");
    }),
  );
  client.socket.destroy();
});

test("a sandbox that stops ends what is forwarded to it, and is said to those who come later", async () => {
  const sandbox = await runSandbox(fixture.daemon, "forward-stopping");
  const container = await runContainer(fixture.daemon, sandbox, {
    name: "app",
    command: ["nc", "-ll", "-p", "7000", "-e", "cat"],
  });
  await listens(container, 7000);
  const client = await forwardTo(sandbox);
  const { data } = await openPair(client, 7000, 0);
  await data.write("x");
  await eventually("it is connected", () => textOf(data) === "x");
  await fixture.daemon.api.stopPodSandbox({ podSandboxId: sandbox });
  await data.ended;
  const { error } = await openPair(client, 7000, 1);
  await error.ended;
  expect(textOf(error)).toContain("is not ready any more");
  client.socket.destroy();
});
