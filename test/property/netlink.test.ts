// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import type { ByteWriter } from "../../src/lib/bytes.ts";
import {
  attributeList,
  body,
  decodeAcknowledgement,
  decodeMessages,
  encodeRequests,
  putBytes,
  putNested,
} from "../../src/linux/netlink/message.ts";
import { decodeChain, decodeTable } from "../../src/linux/netlink/nftables.ts";
import { decodeAddress, decodeLink, decodeRoute } from "../../src/linux/netlink/route.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const attribute = fc.tuple(fc.integer({ min: 0, max: 0x3fff }), fc.uint8Array({ maxLength: 200 }));

test("attributes read back as they were written", () => {
  fc.assert(
    fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
      const bytes = body((w) => {
        for (const [type, value] of attributes) putBytes(w, type, value);
      });
      expect(bytes.length % 4).toBe(0);
      expect(attributeList(bytes).map(([type, value]) => [type, [...value]])).toEqual(
        attributes.map(([type, value]) => [type, [...value]]),
      );
    }),
    fuzz(100),
  );
});

test("nesting to any depth keeps what is inside", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.uint8Array({ maxLength: 50 }), (depth, value) => {
      const write = (w: ByteWriter, left: number): void => {
        if (left === 0) putBytes(w, 1, value);
        else putNested(w, 2, (inner) => write(inner, left - 1));
      };
      let bytes: Uint8Array = body((w) => write(w, depth));
      for (let level = 0; level < depth; level++) bytes = attributeList(bytes)[0]?.[1] as Uint8Array;
      expect([...(attributeList(bytes)[0]?.[1] ?? [])]).toEqual([...value]);
    }),
    fuzz(100),
  );
});

test("a datagram of requests reads back message by message", () => {
  const request = fc.record({
    operation: fc.constant("test"),
    type: fc.integer({ min: 16, max: 0xffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    body: fc.uint8Array({ maxLength: 100 }),
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 10 }), fc.integer({ min: 0, max: 1e6 }), (requests, first) => {
      const messages = decodeMessages(encodeRequests(requests, first));
      expect(messages.map(({ type, sequence, payload }) => [type, sequence, [...payload]])).toEqual(
        requests.map(({ type, body }, index) => [type, first + index, [...body]]),
      );
    }),
    fuzz(100),
  );
});

test("garbage is decoded or refused as out of range, never anything else", () => {
  const decoders = [decodeLink, decodeAddress, decodeRoute, decodeTable, decodeChain, decodeAcknowledgement];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 0xffff }), (bytes, flags) => {
      const attempts = [
        () => decodeMessages(bytes),
        () => attributeList(bytes),
        ...decoders.map((decode) => () => decode({ type: 2, flags, sequence: 1, payload: bytes })),
      ];
      for (const attempt of attempts) {
        try {
          attempt();
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
    }),
    fuzz(1000),
  );
});
