// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
// Bun puts a server of its own, which cannot hold a client back, in the place of the name "ws".
import { type WebSocket, WebSocketServer } from "ws-node";
import { UnavailableError } from "../errors.ts";
import type { ByteStream, OutputStream } from "./byte-stream.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import type { ChannelCodec } from "./protocols.ts";
import { messageFrame } from "./websocket-frame.ts";

/** The largest message that is accepted; clients send what they have read at once, rarely above 64 KiB. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** What may wait for a reader before the client is held back. */
const QUEUE_BYTES = 256 * 1024;
/** A client takes a server for dead that has sent no pong for about a minute. */
const UNASKED_PONG_INTERVAL_MS = 10_000;
const HALF_CLOSE = 255;
const NORMAL_CLOSURE = 1000;

export interface Handshake {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What the client has sent beyond the request. */
  readonly head: Buffer;
  /** The protocol that is agreed on, empty for none. */
  readonly protocol: string;
  /** How long a client may take to read what was sent before the close, and to answer that. */
  readonly closeTimeoutMs: number;
}

/**
 * Answers the handshake of a WebSocket and calls `onOpen`. A handshake that is not in order (RFC 6455,
 * section 4.2.1) is refused, and its connection closed.
 */
export function acceptWebSocket(handshake: Handshake, onOpen: (socket: WebSocket) => void): void {
  const { request, socket, head, protocol, closeTimeoutMs } = handshake;
  const options = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    autoPong: false,
    closeTimeout: closeTimeoutMs,
  };
  const server = new WebSocketServer(options);
  // The name of the tunnel's protocol has a slash, for which the library would refuse the handshake.
  request.headers["sec-websocket-protocol"] = undefined;
  server.on("headers", (headers) => {
    if (protocol !== "") headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
  });
  server.handleUpgrade(request, socket, head, (opened) => {
    connections.set(opened, socket);
    answerPings(opened);
    onOpen(opened);
  });
}

/**
 * Answers the latest ping once the answer to an earlier one has left (RFC 6455, section 5.5.3): a client
 * that reads nothing for a while is neither cut off, as the library would do, nor given ever more answers.
 */
function answerPings(socket: WebSocket): void {
  let latest: Buffer | undefined;
  let isAnswering = false;
  const answer = () => {
    isAnswering = latest !== undefined && socket.readyState === socket.OPEN;
    if (latest === undefined || !isAnswering) return;
    const data = latest;
    latest = undefined;
    socket.pong(data, undefined, answer);
  };
  socket.on("ping", (data) => {
    latest = data;
    if (!isAnswering) answer();
  });
}

/** What is below each WebSocket. */
const connections = new WeakMap<WebSocket, Duplex>();

/** Streams that share a WebSocket, told apart by the first byte of each message. */
export interface ChannelSocket {
  /** The stream of one channel. */
  channel(id: number): ByteStream;
  /** A channel that is only written to: what comes for it is dropped, as for one that nobody asked for. */
  output(id: number): OutputStream;
  /** Settles when the connection has ended, in whatever way. */
  readonly closed: Promise<void>;
  /** Ends the connection with the code of success; what was written arrives before. */
  close(): Promise<void>;
  destroy(): void;
}

/** Serves channels over an open WebSocket. */
export function channelsOver(
  socket: WebSocket,
  codec: ChannelCodec,
  pongIntervalMs = UNASKED_PONG_INTERVAL_MS,
): ChannelSocket {
  const queues = new Map<number, ChunkQueue>();
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  let pongs: ReturnType<typeof setInterval> | undefined;
  let isClosing = false;
  const queued = () => [...queues.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const holdBack = () => {
    if (isClosing || socket.isPaused || queued() <= QUEUE_BYTES) return;
    socket.pause();
    // Pings are not read meanwhile. To a client that has gone, a pong also finds that out.
    pongs = setInterval(() => socket.pong(), pongIntervalMs);
  };
  const letGoOn = () => {
    if (!socket.isPaused || (!isClosing && queued() > QUEUE_BYTES)) return;
    clearInterval(pongs);
    socket.resume();
  };
  socket.on("message", (data: Buffer) => {
    const message = decode(data, codec);
    if (message === undefined || isClosing) return;
    if (codec.hasHalfClose && message.channel === HALF_CLOSE)
      queues.get(message.data[0] ?? HALF_CLOSE)?.end();
    else queues.get(message.channel)?.push(message.data);
    holdBack();
  });
  // Whatever the error, `close` follows.
  socket.on("error", () => {});
  socket.on("close", () => {
    clearInterval(pongs);
    for (const queue of queues.values()) queue.end(new Error("the client has closed the connection"));
    resolve();
  });
  const output = (id: number) => ({
    write: (data: Uint8Array, room = 0) =>
      codec.isBase64
        ? send(socket, `${id}${Buffer.from(data).toString("base64")}`)
        : sendFrame(socket, messageFrame(id, data, room)),
    // There is no message for it: the client learns of the end with the connection's.
    end: async () => {},
  });
  return {
    closed,
    output,
    channel(id) {
      const queue = new ChunkQueue(letGoOn);
      queues.set(id, queue);
      return { ...output(id), incoming: queue, cancel: () => queue.end() };
    },
    close() {
      isClosing = true;
      letGoOn();
      socket.close(NORMAL_CLOSURE);
      return closed;
    },
    destroy: () => socket.terminate(),
  };
}

function send(socket: WebSocket, message: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(message, (error) => (error ? reject(error) : resolve()));
  });
}

/** The library copies what it sends, twice; nothing is compressed, so that between its frames there is room for others. */
function sendFrame(socket: WebSocket, frame: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const connection = connections.get(socket);
    if (connection === undefined || socket.readyState !== socket.OPEN)
      reject(new UnavailableError("the WebSocket is not open"));
    else connection.write(frame, (error) => (error ? reject(error) : resolve()));
  });
}

function decode(data: Buffer, codec: ChannelCodec): { channel: number; data: Uint8Array } | undefined {
  const first = data[0];
  if (first === undefined) return undefined;
  if (!codec.isBase64) return { channel: first, data: data.subarray(1) };
  return {
    channel: first - "0".charCodeAt(0),
    data: Buffer.from(data.subarray(1).toString("latin1"), "base64"),
  };
}
