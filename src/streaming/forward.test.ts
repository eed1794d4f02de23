// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { WebSocket } from "ws-node";
import { type ClientStream, connectSpdy, type SpdyClient } from "../../test/fixtures/spdy-client.ts";
import { type FakeStreaming, startFakeStreaming } from "../../test/fixtures/streaming-server.ts";
import { forward } from "./forward.ts";
import { connectToPod } from "./pod-port.ts";

const MIB = 1024 * 1024;
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A program in the pod: what it does with each connection. Answers its port. */
async function program(onConnection: (socket: Socket) => void, host = "127.0.0.1"): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    onConnection(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as { port: number }).port;
}

const startForwarding = () =>
  startFakeStreaming(
    { streamCreationLimitMs: 3000 },
    { connect: (_sandbox, port) => connectToPod(undefined, port) },
  );

function urlOf(streaming: FakeStreaming, ports: readonly number[] = []): string {
  return streaming.server.urlFor({ kind: "portforward", sandboxId: "s", ports });
}

const dial = (streaming: FakeStreaming) => connectSpdy(urlOf(streaming), ["portforward.k8s.io"]);

interface Pair {
  readonly error: ClientStream;
  readonly data: ClientStream;
}

async function openPair(client: SpdyClient, port: number | string, id?: string): Promise<Pair> {
  const headers = { port: String(port), ...(id === undefined ? {} : { requestid: id }) };
  const error = await client.open({ ...headers, streamtype: "error" });
  error.end();
  return { error, data: await client.open({ ...headers, streamtype: "data" }) };
}

const openFiles = () => readdirSync("/proc/self/fd").length;

const textOf = (stream: ClientStream) => Buffer.concat(stream.received).toString();

async function eventually(isSo: () => boolean): Promise<void> {
  for (let round = 0; round < 1000 && !isSo(); round++) await Bun.sleep(5);
  expect(isSo()).toBe(true);
}

describe("a forwarded connection", () => {
  test("passes bytes both ways; a client's half close reaches the program, whose answer is waited for", async () => {
    await using streaming = await startForwarding();
    const port = await program((socket) => {
      let text = "";
      socket.on("data", (data) => {
        text += data;
      });
      socket.on("end", () => setTimeout(() => socket.end(`${text} was all`), 1300));
    });
    const { error, data } = await openPair(await dial(streaming), port, "0");
    await data.write("what I ");
    await data.write("have");
    data.end();
    expect(await data.ended).toBe("fin");
    expect(textOf(data)).toBe("what I have was all");
    expect(await error.ended).toBe("fin");
    expect(textOf(error)).toBe("");
  });

  test("passes the program's half close, and gives its client a second more", async () => {
    await using streaming = await startForwarding();
    const received: string[] = [];
    let isClosed = false;
    const port = await program((socket) => {
      socket.end("goodbye");
      socket.on("data", (data) => received.push(String(data)));
      socket.on("close", () => {
        isClosed = true;
      });
    });
    const { error, data } = await openPair(await dial(streaming), port, "0");
    expect(await data.ended).toBe("fin");
    expect(textOf(data)).toBe("goodbye");
    await data.write("wait, I");
    await eventually(() => received.join("") === "wait, I");
    expect(isClosed).toBe(false);
    const startMs = performance.now();
    await error.ended;
    expect(performance.now() - startMs).toBeGreaterThan(500);
    await eventually(() => isClosed);
    expect(textOf(error)).toBe("");
  });

  test("is tried with IPv4 and then with IPv6, and a refusal is said for both on the error stream", async () => {
    await using streaming = await startForwarding();
    const client = await dial(streaming);
    const sixOnly = await program((socket) => socket.end("six"), "::1");
    const six = await openPair(client, sixOnly, "0");
    await six.data.ended;
    expect(textOf(six.data)).toBe("six");
    const none = await program(() => {});
    servers.pop()!.close();
    await Bun.sleep(20);
    const { error, data } = await openPair(client, none, "1");
    expect(await error.ended).toBe("fin");
    expect(await data.ended).toBe("fin");
    expect(textOf(error)).toBe(
      `error forwarding port ${none}: cannot connect to port ${none} of the pod: connect 127.0.0.1:${none}: ECONNREFUSED; connect [::1]:${none}: ECONNREFUSED`,
    );
  });

  test("that the program resets is cut off without a word, since clients give up everything for one", async () => {
    await using streaming = await startForwarding();
    const port = await program((socket) => {
      socket.write("so far");
      socket.once("data", () => socket.resetAndDestroy());
    });
    const { error, data } = await openPair(await dial(streaming), port, "0");
    await eventually(() => textOf(data) === "so far");
    await data.write("x");
    expect(await data.ended).toBe("reset");
    expect(await error.ended).toBe("fin");
    expect(textOf(error)).toBe("");
  });

  test("ends in the pod when its client cuts it off, or vanishes", async () => {
    await using streaming = await startForwarding();
    let open = 0;
    const port = await program((socket) => {
      open++;
      socket.resume();
      socket.on("end", () => socket.end());
      socket.on("close", () => open--);
    });
    const client = await dial(streaming);
    const first = await openPair(client, port, "0");
    await openPair(client, port, "1");
    await eventually(() => open === 2);
    first.data.reset(5);
    await eventually(() => open === 1);
    client.socket.resetAndDestroy();
    await eventually(() => open === 0);
  });

  test("holds a program back whose client does not read, and a client whose program does not", async () => {
    await using streaming = await startForwarding();
    let written = 0;
    let reading: Socket | undefined;
    const port = await program((socket) => {
      reading = socket;
      socket.pause();
      const write = () => {
        while (written < 256 * MIB && socket.write(Buffer.alloc(MIB, 1))) written += MIB;
      };
      socket.on("drain", write);
      write();
    });
    const client = await dial(streaming);
    const { data } = await openPair(client, port, "0");
    client.socket.pause();
    await eventually(() => written > 0);
    await Bun.sleep(300);
    expect(written).toBeLessThan(64 * MIB);
    let sent = 0;
    const sending = (async () => {
      for (; sent < 64 * MIB; sent += MIB) await data.write(Buffer.alloc(MIB, 2));
    })();
    await Bun.sleep(300);
    expect(sent).toBeLessThan(64 * MIB);
    let received = 0;
    data.onData = ({ length }) => {
      received += length;
    };
    client.socket.resume();
    reading!.resume();
    await sending;
    expect(sent).toBe(64 * MIB);
    await eventually(() => received >= 256 * MIB);
    client.socket.destroy();
  }, 30_000);
});

test("a program that is silent after its client's end is given up, one that writes is not", async () => {
  let closed = 0;
  const patience = { afterServerMs: 1000, afterClientMs: 300 };
  const run = async (port: number) => {
    let [received, isCancelled] = [0, false];
    const data = {
      incoming: (async function* () {})(),
      write: async (bytes: Uint8Array) => {
        received += bytes.length;
      },
      end: async () => {},
      cancel: () => {
        isCancelled = true;
      },
    };
    const error = { ...data, write: async () => expect.unreachable("nothing is wrong") };
    const connectTo = () => connectToPod(undefined, port);
    await forward({ port, data, error }, { connect: connectTo, touch: () => {} }, patience);
    return { received, isCancelled };
  };
  const silent = await program((socket) => socket.resume().on("close", () => closed++));
  expect(await run(silent)).toEqual({ received: 0, isCancelled: true });
  await eventually(() => closed === 1);
  const slow = await program(async (socket) => {
    for (let count = 0; count < 6; count++) {
      await Bun.sleep(100);
      socket.write(".");
    }
    socket.end();
  });
  expect(await run(slow)).toEqual({ received: 6, isCancelled: false });
});

describe("of the streams of a connection", () => {
  test("many pairs go at once, in any order, also those of clients that number no requests", async () => {
    await using streaming = await startForwarding();
    const port = await program((socket) => {
      socket.on("data", (data) => socket.write(data));
      socket.on("end", () => socket.end());
    });
    const client = await dial(streaming);
    const before = openFiles();
    const old = await openPair(client, port);
    const numbered = Array.from({ length: 50 }, async (_, index) => {
      const { data } = await openPair(client, port, String(index));
      return { data, text: `request ${index}` };
    });
    const swapped = client
      .open({ streamtype: "data", port: String(port), requestid: "x" })
      .then(async (data) => {
        await client.open({ streamtype: "error", port: String(port), requestid: "x" });
        return { data, text: "swapped" };
      });
    const pairs = [...(await Promise.all([...numbered, swapped])), { data: old.data, text: "old" }];
    await Promise.all(
      pairs.map(async ({ data, text }) => {
        await data.write(text);
        data.end();
        expect(await data.ended).toBe("fin");
        expect(textOf(data)).toBe(text);
      }),
    );
    await eventually(() => openFiles() <= before);
  });

  test("those with a bad kind or port, and seconds of a kind, are reset, and the others go on", async () => {
    await using streaming = await startForwarding();
    const port = await program((socket) => socket.end("fine"));
    const client = await dial(streaming);
    const bad = [
      { streamtype: "stdin", port: "80" },
      { port: "80" },
      { streamtype: "data" },
      ...["0", "65536", "-1", "http", "80 ", "0x50", ""].map((text) => ({ streamtype: "data", port: text })),
    ];
    for (const headers of bad) expect(await (await client.open(headers)).ended).toBe("reset");
    await client.open({ streamtype: "error", port: String(port), requestid: "7" });
    const second = await client.open({ streamtype: "error", port: String(port), requestid: "7" });
    expect(await second.ended).toBe("reset");
    const data = await client.open({ streamtype: "data", port: String(port), requestid: "7" });
    expect(await data.ended).toBe("fin");
    expect(textOf(data)).toBe("fine");
  });

  test("one whose other half does not come is given up", async () => {
    await using streaming = await startFakeStreaming({ streamCreationLimitMs: 100 });
    const client = await dial(streaming);
    const error = await client.open({ streamtype: "error", port: "80", requestid: "1" });
    expect(await error.ended).toBe("reset");
  });
});

describe("over WebSocket", () => {
  test("the old form has two channels for each port, which begin with it", async () => {
    await using streaming = await startForwarding();
    const echo = await program((socket) => {
      socket.on("data", (data) => socket.end(`echo ${data}`));
    });
    const none = await program(() => {});
    servers.pop()!.close();
    for (const protocol of ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""]) {
      const client = new WebSocket(urlOf(streaming, [echo, none]), protocol === "" ? [] : [protocol]);
      const channels = new Map<number, Buffer>();
      const isBase64 = protocol.includes("base64");
      client.on("message", (message: Buffer) => {
        const channel = isBase64 ? message[0]! - 48 : message[0]!;
        const data = isBase64 ? Buffer.from(message.subarray(1).toString(), "base64") : message.subarray(1);
        channels.set(channel, Buffer.concat([channels.get(channel) ?? Buffer.alloc(0), data]));
      });
      const closed = new Promise<number>((resolve) => client.on("close", resolve));
      await new Promise((resolve) => client.once("open", resolve));
      client.send(isBase64 ? `0${Buffer.from("hello").toString("base64")}` : Buffer.from("\x00hello"));
      expect(await closed).toBe(1000);
      for (const [channel, port] of [echo, echo, none, none].entries()) {
        expect(channels.get(channel)!.readUInt16LE(0)).toBe(port);
      }
      expect(channels.get(0)!.subarray(2).toString()).toBe("echo hello");
      expect(channels.get(1)!.length).toBe(2);
      expect(channels.get(3)!.subarray(2).toString()).toContain("ECONNREFUSED");
    }
  }, 20_000);
});

test("a connection on which nothing is forwarded for too long is closed", async () => {
  await using streaming = await startFakeStreaming(
    { idleLimitMs: 100 },
    {
      connect: (_sandbox, port) => connectToPod(undefined, port),
    },
  );
  const client = await dial(streaming);
  await client.closed;
});

test("a server that closes ends forwarded connections", async () => {
  const streaming = await startForwarding();
  let isClosed = false;
  const port = await program((socket) => {
    socket.resume();
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      isClosed = true;
    });
  });
  const client = await dial(streaming);
  await openPair(client, port, "0");
  await streaming.server.close();
  await client.closed;
  await eventually(() => isClosed);
});

test("a connection whose descriptor is handed to Bun is closed with it", async () => {
  const port = await program((socket) => socket.on("end", () => socket.end()).resume());
  const probe = connect({ host: "127.0.0.1", port });
  await new Promise((resolve) => probe.once("connect", resolve));
  probe.destroy();
  await Bun.sleep(50);
  const before = openFiles();
  for (let round = 0; round < 50; round++) (await connectToPod(undefined, port)).destroy();
  await eventually(() => openFiles() <= before + 1);
});
