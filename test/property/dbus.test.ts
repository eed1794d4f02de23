// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { decodeMessage, encodeMessage, type Message, messageFrames } from "../../src/dbus/message.ts";
import { parseSignature } from "../../src/dbus/signature.ts";
import { decodeValues, encodeValues, type Value } from "../../src/dbus/values.ts";
import { PodrtError } from "../../src/errors.ts";
import { ByteReader, ByteWriter } from "../../src/lib/bytes.ts";
import { fuzz, fuzzTimeoutMs, mutatedBytes } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

type Typed = readonly [signature: string, value: Value];

const text = fc.string({ unit: "binary", maxLength: 20 }).filter((value) => !value.includes("\0"));
const basics: Readonly<Record<string, fc.Arbitrary<Value>>> = {
  y: fc.nat(0xff),
  b: fc.boolean(),
  n: fc.integer({ min: -0x8000, max: 0x7fff }),
  q: fc.nat(0xffff),
  i: fc.integer(),
  u: fc.integer({ min: 0, max: 0xffff_ffff }),
  x: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  t: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  d: fc.double({ noNaN: true }),
  s: text,
  o: fc.constantFrom("/", "/org/freedesktop/systemd1"),
  g: fc.constantFrom("", "a(sv)", "ssa(sv)a(sa(sv))"),
};
const basic: fc.Arbitrary<Typed> = fc
  .constantFrom(...Object.entries(basics))
  .chain(([code, values]) => values.map((value) => [code, value] as const));

/** A value with its type: arrays hold one value any number of times, which is enough for their padding. */
const typed: fc.Arbitrary<Typed> = fc.letrec<{ any: Typed }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    basic,
    tie("any").map(([signature, value]) => ["v", { signature, value }] as const),
    fc
      .tuple(tie("any"), fc.nat(3))
      .map(([[signature, value], count]) => [`a${signature}`, Array<Value>(count).fill(value)] as const),
    fc
      .array(tie("any"), { minLength: 1, maxLength: 3 })
      .map(
        (members) =>
          [`(${members.map(([one]) => one).join("")})`, members.map(([, value]) => value)] as const,
      ),
    fc
      .tuple(basic, tie("any"))
      .map(([[key, name], [signature, value]]) => [`a{${key}${signature}}`, [[name, value]]] as const),
  ),
})).any;

const messages: fc.Arbitrary<Message> = fc
  .tuple(
    fc.record(
      {
        path: fc.constant("/a"),
        interface: text,
        member: text,
        errorName: text,
        destination: text,
        sender: text,
      },
      { requiredKeys: [] },
    ),
    fc.record({ type: fc.nat(0xff), serial: fc.nat(0xffff_ffff) }),
    fc.array(typed, { maxLength: 3 }),
  )
  .map(([fields, fixed, values]) => ({
    ...(fields as object),
    ...fixed,
    signature: values.map(([signature]) => signature).join(""),
    body: values.map(([, value]) => value),
  }))
  .filter(({ signature }) => signature.length < 256);

test("values of every type read back as they were written, wherever they begin", () => {
  fc.assert(
    fc.property(typed, fc.nat(9), ([signature, value], offset) => {
      fc.pre(signature.length < 256);
      const writer = new ByteWriter().zeros(offset);
      encodeValues(writer, signature, [value]);
      const reader = new ByteReader(writer.finish()).skip(offset);
      expect(decodeValues(reader, signature)).toEqual([value]);
      expect(reader.remaining).toBe(0);
    }),
    fuzz(300),
  );
});

test("messages read back as they were written, in whatever pieces they come", () => {
  fc.assert(
    fc.property(fc.array(messages, { maxLength: 4 }), fc.integer({ min: 1, max: 40 }), (sent, step) => {
      const bytes = Buffer.concat(sent.map(encodeMessage));
      const frames = messageFrames();
      const received: Message[] = [];
      for (let at = 0; at < bytes.length; at += step) {
        received.push(...frames.push(bytes.subarray(at, at + step)).map(decodeMessage));
      }
      expect(received).toEqual(sent);
    }),
    fuzz(150),
  );
});

/** What is no message is an error of one of these two kinds, whatever it is. */
function readAll(bytes: Uint8Array): void {
  try {
    for (const frame of messageFrames().push(bytes)) decodeMessage(frame);
  } catch (error) {
    if (!(error instanceof PodrtError) && !(error instanceof RangeError)) throw error;
  }
}

test("changed messages are read or refused, and nothing else happens", () => {
  const changed = messages.chain((message) => mutatedBytes(encodeMessage(message)));
  fc.assert(fc.property(changed, readAll), fuzz(1000));
});

test("any bytes are read or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), readAll), fuzz(500));
  const beginning = Buffer.from([0x6c, 1, 0, 1]);
  const begun = fc.uint8Array({ maxLength: 400 }).map((rest) => Buffer.concat([beginning, rest]));
  fc.assert(fc.property(begun, readAll), fuzz(500));
});

test("what claims to be longer than a message may be is refused with its header", () => {
  const header = encodeMessage({ type: 1, serial: 1, signature: "", body: [] }).slice(0, 16);
  new DataView(header.buffer).setUint32(4, 64 << 20, true);
  expect(() => messageFrames().push(header)).toThrow("more than 1048576");
});

test.each([
  "a",
  "(",
  "()",
  "(s",
  "{sv}",
  "a{vs}",
  "a{sv",
  "z",
  "a".repeat(40),
  `${"(".repeat(40)}s`,
  "s".repeat(256),
])("%p is no signature", (signature) =>
  expect(() => parseSignature(signature)).toThrow("is no D-Bus signature"),
);

test("variants that hold variants without end are refused", () => {
  const depth = 200;
  const bytes = Buffer.from([...Array.from({ length: depth }, () => [1, 0x76, 0]).flat(), 1, 0x79, 0, 1]);
  expect(() => decodeValues(new ByteReader(bytes), "v")).toThrow("nested too deeply");
});
