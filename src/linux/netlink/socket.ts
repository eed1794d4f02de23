// SPDX-License-Identifier: Apache-2.0
import { close, write } from "node:fs";
import { assert } from "../../lib/assert.ts";
import { ByteReader, ByteWriter } from "../../lib/bytes.ts";
import { ERRNO } from "../abi/errno.ts";
import {
  AF_NETLINK,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  type NETLINK_NETFILTER,
  NETLINK_ROUTE,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_OVERRUN,
  SOL_NETLINK,
} from "../abi/netlink.ts";
import { MSG_DONTWAIT, SOCK_CLOEXEC } from "../abi/socket.ts";
import { Fd } from "../fd.ts";
import { SyscallError, syscall, trySyscall } from "../syscall.ts";
import {
  decodeAcknowledgement,
  decodeMessages,
  encodeRequests,
  NetlinkError,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./message.ts";

const SOCK_RAW = 3;
const MSG_TRUNC = 0x20;
const SOCKADDR_NL_BYTES = 12;

/** The kernel fills dumps in pieces of at most 32 KiB and refuses to send more at once than is asked for. */
const RECEIVE_BYTES = 64 * 1024;
/** Every acknowledgement waits in the socket's receive buffer, which holds about 250 of them by default. */
const BATCH_LIMIT = 128;
const DUMP_LIMIT = 1_000_000;
const DUMP_ATTEMPTS = 5;

/** Used within one synchronous step; what was received is copied out of it. */
let receiveBuffer: Uint8Array | undefined;

/**
 * A netlink socket in the network namespace in which it was opened, wherever the thread goes later.
 * One operation at a time; closed by `using`.
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: Fd;
  readonly #protocol: number;
  #sequence = 1;

  constructor(protocol: typeof NETLINK_ROUTE | typeof NETLINK_NETFILTER) {
    this.#protocol = protocol;
    this.#fd = new Fd(syscall("socket", AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    try {
      for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK]) {
        syscall("setsockopt", this.#fd.number, SOL_NETLINK, option, Uint8Array.of(1, 0, 0, 0), 4);
      }
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }

  /** Closing a socket of nf_tables waits until what it removed is destroyed, hence off the thread. */
  [Symbol.dispose](): void {
    if (this.#protocol === NETLINK_ROUTE) this.#fd.close();
    else if (this.#fd.isOpen) close(this.#fd.release(), () => {});
  }

  /**
   * Sends the requests in one datagram and waits until the kernel has answered each. Returns each one's
   * answers. The first refusal that its request does not tolerate is thrown as a NetlinkError; the
   * kernel has tried the others all the same.
   */
  async execute(requests: readonly NetlinkRequest[]): Promise<NetlinkMessage[][]> {
    assert(
      requests.length > 0 && requests.length <= BATCH_LIMIT,
      `${requests.length} netlink requests at once`,
    );
    const acknowledged = requests.map((request) => ({ ...request, flags: request.flags | NLM_F_ACK }));
    return this.#exchange(acknowledged, requests);
  }

  /**
   * Sends requests of which the kernel answers only those with NLM_F_ACK, as in an nf_tables batch, and
   * throws the first refusal as a NetlinkError.
   */
  async executeBatch(requests: readonly NetlinkRequest[]): Promise<void> {
    assert(requests.length <= BATCH_LIMIT, `${requests.length} netlink requests at once`);
    await this.#exchange(
      requests,
      requests.filter(({ flags }) => (flags & NLM_F_ACK) !== 0),
    );
  }

  /** All objects of a kind; asked again when they changed meanwhile, up to five times. */
  async dump(request: NetlinkRequest): Promise<NetlinkMessage[]> {
    const wanted = { ...request, flags: request.flags | NLM_F_DUMP };
    for (let attempt = 1; ; attempt++) {
      const messages = (await this.#exchange([wanted], [wanted]))[0] ?? [];
      const changed = messages.some(({ flags }) => (flags & NLM_F_DUMP_INTR) !== 0);
      if (!changed || attempt === DUMP_ATTEMPTS) return messages;
    }
  }

  async #exchange(
    requests: readonly NetlinkRequest[],
    awaited: readonly NetlinkRequest[],
  ): Promise<NetlinkMessage[][]> {
    const first = this.#sequence;
    this.#sequence += requests.length;
    await sendOffThread(this.#fd.number, encodeRequests(requests, first));
    return this.#collect(requests, first, awaited.length);
  }

  /**
   * Reads until `awaited` requests are answered. The kernel answers before the send returns (dumps: when
   * they are read), so there is nothing to wait for: an empty socket means a lost answer.
   */
  #collect(requests: readonly NetlinkRequest[], first: number, awaited: number): NetlinkMessage[][] {
    const answers: NetlinkMessage[][] = requests.map(() => []);
    let refusal: NetlinkError | undefined;
    let total = 0;
    const finished = new Set<number>();
    while (finished.size < awaited && refusal === undefined) {
      for (const message of this.#receive(requests)) {
        const index = message.sequence - first;
        const request = requests[index];
        if (request === undefined) continue;
        if (message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE) {
          if (++total > DUMP_LIMIT)
            throw new NetlinkError(request.operation, ERRNO.EMSGSIZE, "too many answers");
          answers[index]?.push(message);
          continue;
        }
        refusal ??= refusalOf(request, message);
        finished.add(index);
      }
    }
    if (refusal !== undefined) throw refusal;
    return answers;
  }

  #receive(requests: readonly NetlinkRequest[]): NetlinkMessage[] {
    receiveBuffer ??= new Uint8Array(RECEIVE_BYTES);
    const buffer = receiveBuffer;
    const sender = new Uint8Array(SOCKADDR_NL_BYTES);
    const senderBytes = new ByteWriter(4).u32(SOCKADDR_NL_BYTES).finish();
    const flags = MSG_DONTWAIT | MSG_TRUNC;
    const count = trySyscall("recvfrom", this.#fd.number, buffer, buffer.length, flags, sender, senderBytes);
    const operation = requests.map((request) => request.operation).join(", ");
    if (count < 0) throw new NetlinkError(operation, -count, "the kernel's answer is missing");
    if (count > buffer.length)
      throw new NetlinkError(operation, ERRNO.EMSGSIZE, `an answer of ${count} bytes`);
    // Port 0 is the kernel; anybody else's message is no answer.
    if (new ByteReader(sender.subarray(4)).u32() !== 0) return [];
    const messages = decodeMessages(buffer.slice(0, count));
    if (messages.some(({ type }) => type === NLMSG_OVERRUN)) {
      throw new NetlinkError(operation, ERRNO.ENOBUFS, "answers were lost");
    }
    return messages;
  }
}

/** What an acknowledgement or the end of a dump says against the request, if anything. */
function refusalOf(request: NetlinkRequest, message: NetlinkMessage): NetlinkError | undefined {
  if (message.type === NLMSG_DONE) {
    const errno = message.payload.length < 4 ? 0 : -new ByteReader(message.payload).i32();
    return errno > 0 ? new NetlinkError(request.operation, errno, "") : undefined;
  }
  const { errno, explanation } = decodeAcknowledgement(message);
  if (errno === 0 || request.tolerated?.some((name) => ERRNO[name] === errno)) return undefined;
  return new NetlinkError(request.operation, errno, explanation);
}

/**
 * The kernel works while the message is being sent, and for a link's removal that takes tens of
 * milliseconds, as does waiting for its lock while another link goes. So the send is a write(2) on one
 * of the engine's file threads; an unconnected netlink socket writes to the kernel, see netlink(7).
 */
function sendOffThread(fd: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error !== null) reject(new SyscallError("write", -(error.errno ?? -ERRNO.EIO), "netlink socket"));
      else if (written !== bytes.length) reject(new SyscallError("write", ERRNO.EMSGSIZE, "netlink socket"));
      else resolve();
    });
  });
}
