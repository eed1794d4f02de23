// SPDX-License-Identifier: Apache-2.0

/*
 * As much of a DNS message (RFC 1035, section 4) as is needed to answer for the pods' domain: header and first
 * question are read, answers written. What is forwarded goes on as the bytes that came, so the rest of a message is
 * never taken apart, and there is no name in it to follow.
 */

export const TYPE_A = 1;
const TYPE_SOA = 6;
export const TYPE_PTR = 12;
export const TYPE_AAAA = 28;
export const TYPE_ANY = 255;
const CLASS_IN = 1;
const CLASS_ANY = 255;

export const NOERROR = 0;
export const FORMERR = 1;
export const SERVFAIL = 2;
export const NXDOMAIN = 3;
export const NOTIMP = 4;
export const REFUSED = 5;

/** What fits in a datagram for whoever has not asked for more. */
export const SHORT_BYTES = 512;
export const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
/** A name that is the first question's, by a pointer to it. */
const QUESTION_NAME = 0xc00c;

const QR = 0x8000;
const AA = 0x0400;
const TC = 0x0200;
const RD = 0x0100;
const RA = 0x0080;
const OPCODE = 0x7800;
const RCODE = 0x000f;

/** A query with its one question. */
export interface Query {
  /** In lower case, without the last dot; a dot within a label has a backslash in front. */
  readonly name: string;
  readonly type: number;
  /** The header and the question, which an answer repeats. */
  readonly head: Uint8Array;
}

/** What a message that came to a server is: a query, what has to be answered with an error, or nothing to answer. */
export type Reading =
  | { readonly kind: "query"; readonly query: Query }
  | { readonly kind: "refused"; readonly answer: Uint8Array }
  | { readonly kind: "ignored" };

/** Reads what somebody sent, which may be anything. */
export function readQuery(message: Uint8Array): Reading {
  if (message.length < HEADER_BYTES) return { kind: "ignored" };
  const view = viewOf(message);
  const flags = view.getUint16(2);
  // An answer is never answered: two servers would talk for ever.
  if ((flags & QR) !== 0) return { kind: "ignored" };
  const refused = (rcode: number): Reading => ({ kind: "refused", answer: bareAnswer(message, rcode) });
  if ((flags & OPCODE) !== 0) return refused(NOTIMP);
  const question = view.getUint16(4) === 1 ? readQuestion(message) : undefined;
  if (question === undefined) return refused(FORMERR);
  if (question.class !== CLASS_IN && question.class !== CLASS_ANY) return refused(NOTIMP);
  const { name, type, end } = question;
  return { kind: "query", query: { name, type, head: Uint8Array.from(message.subarray(0, end)) } };
}

/** The first question of a message: undefined where it has none that is whole. */
function readQuestion(
  message: Uint8Array,
): { name: string; type: number; class: number; end: number } | undefined {
  const labels: string[] = [];
  let offset = HEADER_BYTES;
  for (;;) {
    const length = message[offset];
    // Before the first name there is none that a pointer could lead to.
    if (length === undefined || length > MAX_LABEL_BYTES) return undefined;
    offset++;
    if (length === 0) break;
    if (offset + length > message.length || offset + length - HEADER_BYTES >= MAX_NAME_BYTES) {
      return undefined;
    }
    const text = Buffer.from(message.subarray(offset, offset + length)).toString("latin1");
    labels.push(text.replaceAll(".", "\\."));
    offset += length;
  }
  if (offset + 4 > message.length) return undefined;
  const view = viewOf(message);
  return {
    name: labels.join(".").toLowerCase(),
    type: view.getUint16(offset),
    class: view.getUint16(offset + 2),
    end: offset + 4,
  };
}

/** The contents of a resource record of the name that was asked for. */
export interface Answer {
  readonly type: number;
  readonly data: Uint8Array;
}

/**
 * The answer to a query, as one who knows. Where it is longer than `maxBytes` it says so and has none of the records,
 * and whoever asked comes back over TCP. `authority` is the domain whose start stands beside an answer of nothing.
 */
export function answerTo(
  { head }: Query,
  {
    rcode,
    answers,
    ttlSeconds,
    authority,
  }: {
    readonly rcode: number;
    readonly answers: readonly Answer[];
    readonly ttlSeconds: number;
    readonly authority: string;
  },
  maxBytes: number,
): Uint8Array {
  const records = answers.map(({ type, data }) => recordBytes(pointer(), type, ttlSeconds, data));
  const starts = answers.length > 0 ? [] : [startOf(authority, ttlSeconds)];
  const length = [head, ...records, ...starts].reduce((sum, part) => sum + part.length, 0);
  const isWhole = length <= maxBytes;
  const message = Buffer.concat(isWhole ? [head, ...records, ...starts] : [head]);
  const asked = viewOf(head).getUint16(2) & RD;
  const counts = [1, isWhole ? records.length : 0, isWhole ? starts.length : 0, 0];
  writeHeader(message, QR | AA | asked | RA | (isWhole ? 0 : TC) | rcode, counts);
  return message;
}

/** An answer that says no more than what went wrong; the question is repeated where it is known. */
export function failureOf({ head }: Query, rcode: number): Uint8Array {
  const message = Uint8Array.from(head);
  writeHeader(message, QR | (viewOf(head).getUint16(2) & RD) | RA | rcode, [1, 0, 0, 0]);
  return message;
}

function bareAnswer(message: Uint8Array, rcode: number): Uint8Array {
  const answer = Uint8Array.from(message.subarray(0, HEADER_BYTES));
  const flags = viewOf(message).getUint16(2);
  writeHeader(answer, QR | (flags & (OPCODE | RD)) | rcode, [0, 0, 0, 0]);
  return answer;
}

/** Whether a message that came from an upstream server is its answer to this query, sent to it as `id`. */
export function isAnswerTo({ head }: Query, id: number, message: Uint8Array): boolean {
  if (message.length < HEADER_BYTES) return false;
  const view = viewOf(message);
  if (view.getUint16(0) !== id || (view.getUint16(2) & QR) === 0) return false;
  const questions = view.getUint16(4);
  // A server that could not read the question does not repeat it.
  if (questions === 0) return rcodeOf(message) !== NOERROR && message.length === HEADER_BYTES;
  const [theirs, ours] = [readQuestion(message), readQuestion(head)];
  return (
    questions === 1 &&
    theirs !== undefined &&
    theirs.name === ours?.name &&
    theirs.type === ours.type &&
    theirs.class === ours.class
  );
}

export function rcodeOf(message: Uint8Array): number {
  return viewOf(message).getUint16(2) & RCODE;
}

/** The same message under another id. */
export function withId(message: Uint8Array, id: number): Uint8Array {
  const copy = Uint8Array.from(message);
  viewOf(copy).setUint16(0, id);
  return copy;
}

export function idOf(message: Uint8Array): number {
  return viewOf(message).getUint16(0);
}

/** A name in wire format, uncompressed; its labels are the program's own, and short. */
export function nameBytes(name: string): Uint8Array {
  const labels = name === "" ? [] : name.split(".");
  return Buffer.concat([
    ...labels.flatMap((label) => [Uint8Array.of(Buffer.byteLength(label)), Buffer.from(label)]),
    Uint8Array.of(0),
  ]);
}

function pointer(): Uint8Array {
  return Uint8Array.of(QUESTION_NAME >> 8, QUESTION_NAME & 0xff);
}

function recordBytes(owner: Uint8Array, type: number, ttlSeconds: number, data: Uint8Array): Uint8Array {
  const fixed = new Uint8Array(10);
  const view = viewOf(fixed);
  view.setUint16(0, type);
  view.setUint16(2, CLASS_IN);
  view.setUint32(4, ttlSeconds);
  view.setUint16(8, data.length);
  return Buffer.concat([owner, fixed, data]);
}

/** The start of a domain (RFC 1035, 3.3.13), by which resolvers know how long nothing stays nothing (RFC 2308). */
function startOf(domain: string, ttlSeconds: number): Uint8Array {
  const numbers = new Uint8Array(20);
  const view = viewOf(numbers);
  // Serial, refresh, retry, expire: nobody copies this domain.
  [1, 7200, 1800, 86_400, ttlSeconds].forEach((value, index) => {
    view.setUint32(index * 4, value);
  });
  const data = Buffer.concat([nameBytes(`ns.dns.${domain}`), nameBytes(`hostmaster.${domain}`), numbers]);
  return recordBytes(nameBytes(domain), TYPE_SOA, ttlSeconds, data);
}

function writeHeader(message: Uint8Array, flags: number, counts: readonly number[]): void {
  const view = viewOf(message);
  view.setUint16(2, flags);
  counts.forEach((count, index) => {
    view.setUint16(4 + index * 2, count);
  });
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
