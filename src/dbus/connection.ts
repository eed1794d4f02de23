// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { messageOf, PodrtError, ResourceExhaustedError, UnavailableError } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { printable } from "../lib/foreign-text.ts";
import type { FrameReader } from "../lib/frame-reader.ts";
import { openAuthenticated } from "./authenticate.ts";
import {
  decodeMessage,
  encodeMessage,
  type HeaderFields,
  MESSAGE_LIMIT_BYTES,
  MESSAGE_TYPE,
  type Message,
  messageFrames,
} from "./message.ts";
import type { Value } from "./values.ts";

/** Calls that wait for their answer, and bytes that the other side does not read: more is refused. */
const CALL_LIMIT = 1024;
const UNREAD_LIMIT_BYTES = 4 * MESSAGE_LIMIT_BYTES;
const ERROR_TEXT_LIMIT = 500;

/** The other side answered with an error; `errorName` as in `org.freedesktop.systemd1.NoSuchUnit`. */
export class RemoteError extends PodrtError {
  readonly errorName: string;

  constructor(errorName: string, message: string) {
    super("FailedPrecondition", message);
    this.errorName = errorName;
  }
}

/** What is called, with values of the types of `signature`. */
export interface Call extends Pick<HeaderFields, "destination" | "path" | "interface" | "member"> {
  readonly signature?: string;
  readonly body?: readonly Value[];
}

export interface Reply {
  readonly body: readonly Value[];
  /** The unique name of who answered, which the bus vouches for; undefined without a bus in between. */
  readonly sender: string | undefined;
}

interface Pending {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A connection to a D-Bus peer: a bus, or a service that listens by itself. It ends with the first byte that is no
 * message, and with it every call that waits. Nothing is served on it.
 */
export class BusConnection {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #frames: FrameReader = messageFrames();
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(signal: Message) => void>();
  readonly #endListeners = new Set<(reason: Error) => void>();
  #nextSerial = 1;
  #ending: Error | undefined;

  /** Connects to the socket at `path`; UnavailableError when nobody is there, or lets podrt in within `timeoutMs`. */
  static async open(path: string, timeoutMs: number): Promise<BusConnection> {
    const { socket, rest } = await openAuthenticated(path, timeoutMs);
    return new BusConnection(path, socket, rest);
  }

  private constructor(path: string, socket: Socket, rest: Uint8Array) {
    this.#path = path;
    this.#socket = socket;
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    socket.on("error", (error) => this.#end(`${path} failed: ${error.message}`));
    socket.on("close", () => this.#end(`${path} was closed from the other side`));
    if (rest.length > 0) this.#receive(rest);
    if (socket.destroyed) this.#end(`${path} was closed from the other side`);
  }

  get isOpen(): boolean {
    return this.#ending === undefined;
  }

  /** The answer to a call; RemoteError when it is an error, UnavailableError when there is none within `timeoutMs`. */
  async call({ signature = "", body = [], ...fields }: Call, timeoutMs: number): Promise<Reply> {
    if (this.#ending !== undefined) throw this.#ending;
    if (this.#pending.size >= CALL_LIMIT || this.#socket.writableLength > UNREAD_LIMIT_BYTES) {
      throw new ResourceExhaustedError(`${this.#path} does not answer as fast as it is asked: try again`);
    }
    const serial = this.#nextSerial;
    this.#nextSerial = (serial % 0xffff_ffff) + 1;
    const bytes = encodeMessage({ ...fields, type: MESSAGE_TYPE.call, serial, signature, body });
    const answer = new Promise<Reply>((resolve, reject) => this.#pending.set(serial, { resolve, reject }));
    try {
      this.#socket.write(bytes);
      return await withDeadline(answer, timeoutMs, `${fields.member}`);
    } catch (error) {
      if (error instanceof RemoteError || error === this.#ending) throw error;
      throw new UnavailableError(`${this.#path} does not answer: ${messageOf(error)}`, { cause: error });
    } finally {
      this.#pending.delete(serial);
    }
  }

  /** Hears of each signal until the returned function is called; it must not throw. */
  onSignal(listener: (signal: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Hears why the connection ended, at once where it has already, until the returned function is called. */
  onEnd(listener: (reason: Error) => void): () => void {
    if (this.#ending !== undefined) listener(this.#ending);
    else this.#endListeners.add(listener);
    return () => void this.#endListeners.delete(listener);
  }

  close(): void {
    this.#end(`${this.#path} was closed`);
  }

  #receive(chunk: Uint8Array): void {
    if (this.#ending !== undefined) return;
    try {
      for (const frame of this.#frames.push(chunk)) this.#dispatch(decodeMessage(frame));
    } catch (error) {
      this.#end(`${this.#path} sent what is no D-Bus message: ${messageOf(error)}`);
    }
  }

  #dispatch(message: Message): void {
    const { type, replySerial, sender, body } = message;
    if (type === MESSAGE_TYPE.signal) for (const listener of this.#listeners) listener(message);
    if (replySerial === undefined) return;
    if (type === MESSAGE_TYPE.reply) this.#pending.get(replySerial)?.resolve({ body, sender });
    if (type === MESSAGE_TYPE.error) this.#pending.get(replySerial)?.reject(remoteError(message));
  }

  #end(reason: string): void {
    if (this.#ending !== undefined) return;
    this.#ending = new UnavailableError(reason);
    this.#socket.destroy();
    this.#listeners.clear();
    for (const listener of this.#endListeners) listener(this.#ending);
    this.#endListeners.clear();
    for (const { reject } of this.#pending.values()) reject(this.#ending);
    this.#pending.clear();
  }
}

/** The first argument of an error is usually a sentence. */
function remoteError({ errorName = "an error without a name", body: [first] }: Message): RemoteError {
  const name = printable(errorName, ERROR_TEXT_LIMIT);
  const sentence = typeof first === "string" ? `${printable(first, ERROR_TEXT_LIMIT)} (${name})` : name;
  return new RemoteError(errorName, sentence);
}
