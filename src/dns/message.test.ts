// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  answerTo,
  FORMERR,
  failureOf,
  isAnswerTo,
  NOTIMP,
  nameBytes,
  type Query,
  rcodeOf,
  readQuery,
  SERVFAIL,
  TYPE_A,
  TYPE_AAAA,
} from "./message.ts";
import { queryBytes } from "./query-bytes.ts";
import { messageReader } from "./upstream.ts";

function queryOf(bytes: Uint8Array): Query {
  const reading = readQuery(bytes);
  if (reading.kind !== "query") throw new Error(`read as ${reading.kind}`);
  return reading.query;
}

function refusal(bytes: Uint8Array): number | string {
  const reading = readQuery(bytes);
  return reading.kind === "refused" ? rcodeOf(reading.answer) : reading.kind;
}

test("a query is read with its name in lower case and what an answer repeats of it", () => {
  const bytes = queryBytes("Web-0.Default.svc.cluster.local", TYPE_AAAA);
  expect(queryOf(bytes)).toMatchObject({ name: "web-0.default.svc.cluster.local", type: TYPE_AAAA });
  expect(queryOf(Buffer.concat([bytes, Buffer.alloc(11)])).head).toEqual(Uint8Array.from(bytes));
  expect(queryOf(queryBytes("", TYPE_A)).name).toBe("");
  // A dot in a label makes no other name of it.
  const dotted = Buffer.from(bytes);
  dotted[12 + 3] = ".".charCodeAt(0);
  expect(queryOf(dotted).name).toStartWith("we\\.-0.default");
});

describe("what is no query", () => {
  const good = queryBytes("a.b", TYPE_A);
  const changed = (offset: number, ...bytes: number[]) => {
    const copy = Buffer.from(good);
    copy.set(bytes, offset);
    return copy;
  };

  test("is answered with an error where it can be, and else not at all", () => {
    expect(readQuery(new Uint8Array()).kind).toBe("ignored");
    expect(readQuery(good.subarray(0, 11)).kind).toBe("ignored");
    // An answer.
    expect(readQuery(changed(2, 0x80)).kind).toBe("ignored");
    // A status query, no question, two of them, a class of another network.
    expect(refusal(changed(2, 0x10))).toBe(NOTIMP);
    expect(refusal(changed(4, 0, 0))).toBe(FORMERR);
    expect(refusal(changed(4, 0, 2))).toBe(FORMERR);
    expect(refusal(changed(good.length - 1, 3))).toBe(NOTIMP);
  });

  test("is refused where it is cut off, wherever that is", () => {
    for (let length = 12; length < good.length; length++) {
      expect(refusal(good.subarray(0, length))).toBe(FORMERR);
    }
  });

  test("is refused where its name is compressed, in a loop or not, or too long", () => {
    // A pointer to itself, one to the header, the two reserved kinds of label.
    for (const bytes of [
      [0xc0, 12],
      [0xc0, 0],
      [0x40, 1],
      [0x80, 1],
    ]) {
      expect(refusal(changed(12, ...bytes))).toBe(FORMERR);
    }
    const label = "a".repeat(63);
    expect(queryOf(queryBytes([label, label, label, "a".repeat(61)].join("."), TYPE_A)).name).toHaveLength(
      253,
    );
    expect(refusal(queryBytes([label, label, label, "a".repeat(62)].join("."), TYPE_A))).toBe(FORMERR);
    expect(refusal(queryBytes(Array(2000).fill("a").join("."), TYPE_A))).toBe(FORMERR);
  });

  test("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        readQuery(bytes);
        readQuery(Buffer.concat([good.subarray(0, 12), bytes]));
        isAnswerTo(queryOf(good), 7, bytes);
      }),
    );
  });
});

describe("an answer", () => {
  const query = queryOf(queryBytes("web.default.svc.cluster.local", TYPE_A, 0xbeef));
  const records = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ type: TYPE_A, data: Uint8Array.of(10, 85, 0, index) }));
  const answer = (count: number, maxBytes: number) =>
    Buffer.from(
      answerTo(
        query,
        { rcode: 0, answers: records(count), ttlSeconds: 5, authority: "cluster.local" },
        maxBytes,
      ),
    );

  test("has the question, and the records under its name", () => {
    const bytes = answer(2, 512);
    expect(bytes.readUInt16BE(0)).toBe(0xbeef);
    // An authoritative answer; recursion was desired, and is available.
    expect(bytes.readUInt16BE(2)).toBe(0x8580);
    expect([4, 6, 8, 10].map((offset) => bytes.readUInt16BE(offset))).toEqual([1, 2, 0, 0]);
    const record = bytes.subarray(query.head.length, query.head.length + 16);
    expect([...record]).toEqual([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 85, 0, 0]);
  });

  test("of nothing has the start of the domain, so that it is not remembered for long", () => {
    const bytes = answer(0, 512);
    expect([4, 6, 8, 10].map((offset) => bytes.readUInt16BE(offset))).toEqual([1, 0, 1, 0]);
    expect(bytes.includes(Buffer.from(nameBytes("ns.dns.cluster.local")))).toBeTrue();
    expect(bytes.readUInt32BE(bytes.length - 4)).toBe(5);
  });

  test("that is too long says so and has no record", () => {
    const bytes = answer(40, 512);
    expect(bytes.readUInt16BE(2) & 0x0200).toBe(0x0200);
    expect(bytes).toHaveLength(query.head.length);
    expect(answer(40, 0xffff).readUInt16BE(6)).toBe(40);
  });

  test("of a server is known by its id and its question", () => {
    const bytes = answer(1, 512);
    expect(isAnswerTo(query, 0xbeef, bytes)).toBeTrue();
    expect(isAnswerTo(query, 0xbeee, bytes)).toBeFalse();
    expect(isAnswerTo(query, 0xbeef, query.head)).toBeFalse();
    const other = queryOf(queryBytes("other.default.svc.cluster.local", TYPE_A, 0xbeef));
    expect(isAnswerTo(other, 0xbeef, bytes)).toBeFalse();
    expect(isAnswerTo(query, 0xbeef, failureOf(query, SERVFAIL))).toBeTrue();
    expect(rcodeOf(failureOf(query, SERVFAIL))).toBe(SERVFAIL);
  });
});

test("a stream is taken apart into messages, however it comes, and given up where one is too long", () => {
  const stream = Buffer.from([0, 2, 1, 2, 0, 1, 3, 0, 3, 4, 5, 6]);
  for (const size of [1, 2, 5, stream.length]) {
    const messages: number[][] = [];
    const read = messageReader(3, (message) => messages.push([...message]));
    for (let start = 0; start < stream.length; start += size) {
      expect(read(stream.subarray(start, start + size))).toBeTrue();
    }
    expect(messages).toEqual([[1, 2], [3], [4, 5, 6]]);
  }
  expect(messageReader(3, () => {})(Uint8Array.of(0, 4))).toBeFalse();
  expect(messageReader(3, () => {})(Uint8Array.of(0, 0))).toBeFalse();
});
