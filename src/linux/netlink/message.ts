// SPDX-License-Identifier: Apache-2.0
import { ByteReader, ByteWriter } from "../../lib/bytes.ts";
import { type ErrnoName, errnoName } from "../abi/errno.ts";
import {
  NLA_F_NESTED,
  NLA_HDRLEN,
  NLA_TYPE_MASK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_REQUEST,
  NLMSG_HDRLEN,
  NLMSGERR_ATTR_MSG,
} from "../abi/netlink.ts";
import { SyscallError } from "../syscall.ts";

/** One request to the kernel: a netlink message without its sequence number. */
export interface NetlinkRequest {
  /** What it does to what, for the error: `create veth pv0123 in podrt0`. */
  readonly operation: string;
  readonly type: number;
  /** NLM_F_ flags beside NLM_F_REQUEST. */
  readonly flags: number;
  /** What follows the header: the family's own header and the attributes. */
  readonly body: Uint8Array;
  /** Refusals that mean that the work is done already. */
  readonly tolerated?: readonly ErrnoName[];
}

/** One message from the kernel. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** A request that the kernel refused, with what it says about the reason (extended acknowledgement). */
export class NetlinkError extends SyscallError {
  constructor(operation: string, errno: number, explanation: string) {
    super("netlink", errno, operation);
    this.message = `${operation}: ${errnoName(errno)}${explanation === "" ? "" : ` (${explanation})`}`;
    this.name = "NetlinkError";
  }
}

/** The body of a request: `fill` writes it, the writer's bound is the kernel's on one message here. */
export function body(fill: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(MESSAGE_LIMIT_BYTES);
  fill(writer);
  return writer.finish();
}

/** Far above what podrt sends; the kernel takes what fits the socket's send buffer (212,992 by default). */
const MESSAGE_LIMIT_BYTES = 128 * 1024;

/** The bytes of several requests; the first has the sequence number `firstSequence`, and so on. */
export function encodeRequests(
  requests: readonly NetlinkRequest[],
  firstSequence: number,
): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(MESSAGE_LIMIT_BYTES);
  requests.forEach(({ type, flags, body }, index) => {
    writer.u32(NLMSG_HDRLEN + body.length).u16(type);
    writer.u16(flags | NLM_F_REQUEST).u32(firstSequence + index);
    // Port 0: the kernel fills in the socket's own.
    writer.u32(0).bytes(body).align(4);
  });
  return writer.finish();
}

/** The messages in one datagram from the kernel; a RangeError when a length passes the end. */
export function decodeMessages(datagram: Uint8Array): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  const reader = new ByteReader(datagram);
  while (reader.remaining > 0) {
    const length = reader.u32();
    const type = reader.u16();
    const flags = reader.u16();
    const sequence = reader.u32();
    reader.skip(4);
    if (length < NLMSG_HDRLEN) throw new RangeError(`a netlink message of ${length} bytes has no header`);
    messages.push({ type, flags, sequence, payload: reader.bytes(length - NLMSG_HDRLEN) });
    reader.align(4);
  }
  return messages;
}

/** The errno (0 for success) and the explanation in the payload of an NLMSG_ERROR. */
export function decodeAcknowledgement({ flags, payload }: NetlinkMessage): {
  errno: number;
  explanation: string;
} {
  const reader = new ByteReader(payload);
  const errno = -reader.i32();
  const requestLength = reader.u32();
  reader.skip(NLMSG_HDRLEN - 4);
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno, explanation: "" };
  if ((flags & NLM_F_CAPPED) === 0) reader.skip(requestLength - NLMSG_HDRLEN).align(4);
  const text = decodeAttributes(reader.bytes(reader.remaining)).get(NLMSGERR_ATTR_MSG);
  return { errno, explanation: text === undefined ? "" : textOf(text) };
}

/** Attributes by number; of several with one number the last counts. */
export function decodeAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  return new Map(attributeList(bytes));
}

/** Attributes in their order, as lists have them. */
export function attributeList(bytes: Uint8Array): [number, Uint8Array][] {
  const attributes: [number, Uint8Array][] = [];
  const reader = new ByteReader(bytes);
  while (reader.remaining >= NLA_HDRLEN) {
    const length = reader.u16();
    const type = reader.u16() & NLA_TYPE_MASK;
    if (length < NLA_HDRLEN) throw new RangeError(`a netlink attribute of ${length} bytes has no header`);
    attributes.push([type, reader.bytes(length - NLA_HDRLEN)]);
    reader.align(4);
  }
  return attributes;
}

/** Writes an attribute with bytes as they are. */
export function putBytes(writer: ByteWriter, type: number, value: Uint8Array): void {
  writer
    .u16(NLA_HDRLEN + value.length)
    .u16(type)
    .bytes(value)
    .align(4);
}

/** Writes an attribute with text and its NUL. */
export function putText(writer: ByteWriter, type: number, text: string): void {
  putBytes(writer, type, new TextEncoder().encode(`${text}\0`));
}

export function putU8(writer: ByteWriter, type: number, value: number): void {
  putBytes(writer, type, new ByteWriter(1).u8(value).finish());
}

export function putU32(writer: ByteWriter, type: number, value: number): void {
  putBytes(writer, type, new ByteWriter(4).u32(value).finish());
}

/** Writes an attribute with a number in network byte order, as nf_tables has all of its numbers. */
export function putU32be(writer: ByteWriter, type: number, value: number): void {
  putBytes(writer, type, new ByteWriter(4).u32be(value >>> 0).finish());
}

/** Writes an attribute that holds the attributes which `fill` writes. */
export function putNested(writer: ByteWriter, type: number, fill: (writer: ByteWriter) => void): void {
  const start = writer.length;
  writer.u16(0).u16(type | NLA_F_NESTED);
  fill(writer);
  writer.patchU16(start, writer.length - start);
  writer.align(4);
}

/** The text of an attribute, up to its NUL. */
export function textOf(value: Uint8Array): string {
  const end = value.indexOf(0);
  return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
}

/** The number in an attribute of four bytes. */
export function u32Of(value: Uint8Array): number {
  return new ByteReader(value).u32();
}
