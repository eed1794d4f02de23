// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  InvalidArgumentError,
  messageOf,
  ResourceExhaustedError,
  UnavailableError,
  UnimplementedError,
} from "../errors.ts";
import { type Request, RequestSchema, ResponseSchema } from "../gen/ttrpc/ttrpc_pb.ts";
import { withDeadline } from "../lib/deadline.ts";
import { FrameReader } from "../lib/frame-reader.ts";

/*
 * The connection of an NRI plugin: two ttrpc connections on one socket. Each frame on the socket begins with the number
 * of its connection and a length (nri, pkg/net/multiplex); what the frames of a connection hold, one after another, is a
 * stream of ttrpc messages, each with a length, the number of its call, its type and flags (ttrpc, PROTOCOL.md).
 */

/** On the one podrt asks and the plugin answers, on the other the plugin asks. */
const PLUGIN_SERVICE = 1;
const RUNTIME_SERVICE = 2;

/** What a ttrpc message may hold. */
export const MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024;
const MESSAGE_HEADER_BYTES = 10;
const FRAME_HEADER_BYTES = 8;
const REQUEST = 1;
const RESPONSE = 2;

/**
 * Readers in Go take a frame into a buffer of this size or into what they still want of a message, and fail where it does
 * not fit: a longer message goes as a frame of this size and another with the rest.
 */
const FIRST_FRAME_BYTES = 4096;

/** Calls of a plugin's that are being answered, and bytes that it does not read: more is no plugin but a flood. */
const CALL_LIMIT = 16;
const UNREAD_LIMIT_BYTES = 4 * MESSAGE_LIMIT_BYTES;

/** google.rpc.Code, as far as anything depends on it. */
export const CODE = { unknown: 2, invalidArgument: 3, unimplemented: 12 } as const;

/** The plugin answered that it will not. */
export class RemoteError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface ConnectionHandlers {
  /** Answers a call of the plugin's; what it throws is the plugin's to read. */
  onRequest(request: Request): Promise<Uint8Array>;
  /** Called once, when the connection has ended, with the reason. */
  onClose(reason: Error): void;
}

interface Pending {
  readonly resolve: (payload: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

export class Connection {
  readonly #socket: Socket;
  readonly #handlers: ConnectionHandlers;
  readonly #trunk = new FrameReader({
    name: "multiplexed",
    headerBytes: FRAME_HEADER_BYTES,
    bodyBytesOf: (header) => header.getUint32(4),
    limitBytes: MESSAGE_HEADER_BYTES + MESSAGE_LIMIT_BYTES,
  });
  readonly #messages = new Map(
    [PLUGIN_SERVICE, RUNTIME_SERVICE].map((id) => [
      id,
      new FrameReader({
        name: "ttrpc",
        headerBytes: MESSAGE_HEADER_BYTES,
        bodyBytesOf: (header) => header.getUint32(0),
        limitBytes: MESSAGE_LIMIT_BYTES,
      }),
    ]),
  );
  readonly #pending = new Map<number, Pending>();
  #nextStream = 1;
  #answering = 0;
  #ending: Error | undefined;

  constructor(socket: Socket, handlers: ConnectionHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    socket.on("error", (error) => this.close(error));
    socket.on("close", () => this.close(new UnavailableError("the plugin closed the connection")));
  }

  get isClosed(): boolean {
    return this.#ending !== undefined;
  }

  /** Asks the plugin: RemoteError for its own refusal, anything else when it is of no use any more, or late. */
  async call(service: string, method: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#ending !== undefined) throw this.#ending;
    const timeoutNano = BigInt(timeoutMs) * 1_000_000n;
    const request = create(RequestSchema, { service, method, payload, timeoutNano });
    const stream = this.#nextStream;
    this.#nextStream += 2;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#pending.set(stream, { resolve, reject });
    try {
      this.#send(PLUGIN_SERVICE, stream, REQUEST, toBinary(RequestSchema, request));
      return await withDeadline(promise, timeoutMs, method);
    } finally {
      this.#pending.delete(stream);
    }
  }

  close(reason: Error): void {
    if (this.#ending !== undefined) return;
    this.#ending = reason;
    this.#socket.destroy();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#handlers.onClose(reason);
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const { header, body } of this.#trunk.push(chunk)) {
        const connection = header.getUint32(0);
        const messages = this.#messages.get(connection);
        if (messages === undefined) throw unexpected(`a frame for connection ${connection}`);
        for (const message of messages.push(body)) {
          if (this.isClosed) return;
          const [stream, type] = [message.header.getUint32(4), message.header.getUint8(8)];
          if (connection === PLUGIN_SERVICE) this.#answered(stream, type, message.body);
          else this.#asked(stream, type, message.body);
        }
      }
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  #answered(stream: number, type: number, body: Uint8Array): void {
    if (type !== RESPONSE) throw unexpected(`a message of type ${type} as answer`);
    if (stream % 2 === 0 || stream >= this.#nextStream) throw unexpected(`an answer to call ${stream}`);
    const { status, payload } = fromBinary(ResponseSchema, body);
    // Whoever asked may have given up by now.
    const pending = this.#pending.get(stream);
    if (status !== undefined && status.code !== 0)
      pending?.reject(new RemoteError(status.code, status.message));
    else pending?.resolve(payload);
  }

  #asked(stream: number, type: number, body: Uint8Array): void {
    if (type !== REQUEST) throw unexpected(`a message of type ${type} as call`);
    if (this.#answering >= CALL_LIMIT) {
      throw new ResourceExhaustedError(`the plugin has more than ${CALL_LIMIT} calls under way`);
    }
    const request = fromBinary(RequestSchema, body);
    this.#answering++;
    void this.#handlers
      .onRequest(request)
      .then(
        (payload) => ({ status: {}, payload }),
        (error) => ({ status: { code: codeOf(error), message: messageOf(error) } }),
      )
      .then((response) => {
        this.#answering--;
        if (this.isClosed) return;
        const bytes = toBinary(ResponseSchema, create(ResponseSchema, response));
        this.#send(RUNTIME_SERVICE, stream, RESPONSE, bytes);
      })
      .catch((error) => this.close(error));
  }

  #send(connection: number, stream: number, type: number, body: Uint8Array): void {
    if (body.length > MESSAGE_LIMIT_BYTES) {
      throw new ResourceExhaustedError(
        `a message of ${body.length} bytes is longer than ${MESSAGE_LIMIT_BYTES}`,
      );
    }
    const message = Buffer.alloc(MESSAGE_HEADER_BYTES + body.length);
    message.writeUInt32BE(body.length, 0);
    message.writeUInt32BE(stream, 4);
    message.writeUInt8(type, 8);
    message.set(body, MESSAGE_HEADER_BYTES);
    for (const part of [message.subarray(0, FIRST_FRAME_BYTES), message.subarray(FIRST_FRAME_BYTES)]) {
      if (part.length === 0) continue;
      const header = Buffer.alloc(FRAME_HEADER_BYTES);
      header.writeUInt32BE(connection, 0);
      header.writeUInt32BE(part.length, 4);
      this.#socket.write(Buffer.concat([header, part]));
    }
    if (this.#socket.writableLength > UNREAD_LIMIT_BYTES) {
      this.close(
        new ResourceExhaustedError(`the plugin leaves more than ${UNREAD_LIMIT_BYTES} bytes unread`),
      );
    }
  }
}

function unexpected(what: string): InvalidArgumentError {
  return new InvalidArgumentError("", `it sent ${what}, which no plugin does`);
}

function codeOf(error: unknown): number {
  if (error instanceof UnimplementedError) return CODE.unimplemented;
  return error instanceof InvalidArgumentError ? CODE.invalidArgument : CODE.unknown;
}
