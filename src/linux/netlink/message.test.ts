// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ByteWriter } from "../../lib/bytes.ts";
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_MSG } from "../abi/netlink.ts";
import { isErrno } from "../syscall.ts";
import {
  body,
  decodeAcknowledgement,
  decodeAttributes,
  decodeMessages,
  encodeRequests,
  NetlinkError,
  putNested,
  putText,
  putU32,
  textOf,
  u32Of,
} from "./message.ts";

test("requests are aligned, numbered and carry their length without the padding", () => {
  const request = { operation: "test", type: 16, flags: 4, body: Uint8Array.of(1, 2, 3, 4, 5) };
  const bytes = encodeRequests([request, request], 7);
  expect(bytes.length).toBe(48);
  expect([...bytes.subarray(0, 24)]).toEqual([
    ...[21, 0, 0, 0, 16, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0],
    ...[1, 2, 3, 4, 5, 0, 0, 0],
  ]);
  expect(decodeMessages(bytes).map(({ sequence }) => sequence)).toEqual([7, 8]);
});

test("nested attributes carry the length of what they hold", () => {
  const bytes = body((w) =>
    putNested(w, 3, (inner) => {
      putText(inner, 1, "veth");
      putU32(inner, 2, 99);
    }),
  );
  const inner = decodeAttributes(decodeAttributes(bytes).get(3) as Uint8Array);
  expect(textOf(inner.get(1) as Uint8Array)).toBe("veth");
  expect(u32Of(inner.get(2) as Uint8Array)).toBe(99);
});

test("the kernel's explanation is read from a capped acknowledgement and from a full one", () => {
  const explanation = new ByteWriter();
  putText(explanation, NLMSGERR_ATTR_MSG, "Nexthop has invalid gateway");
  const header = new ByteWriter().i32(-101).u32(24).zeros(12).finish();
  const capped = {
    type: NLMSG_ERROR,
    flags: NLM_F_CAPPED | NLM_F_ACK_TLVS,
    sequence: 1,
    payload: Uint8Array.of(...header, ...explanation.finish()),
  };
  const full = {
    ...capped,
    flags: NLM_F_ACK_TLVS,
    payload: Uint8Array.of(...header, ...new Uint8Array(8), ...explanation.finish()),
  };
  const expected = { errno: 101, explanation: "Nexthop has invalid gateway" };
  expect(decodeAcknowledgement(capped)).toEqual(expected);
  expect(decodeAcknowledgement(full)).toEqual(expected);
  expect(decodeAcknowledgement({ ...capped, flags: 0 })).toEqual({ errno: 101, explanation: "" });
});

test("a refusal reads as one sentence and is known by its errno", () => {
  const error = new NetlinkError("add default route by 10.0.0.1 on eth0", 101, "Nexthop has invalid gateway");
  expect(error.message).toBe(
    "add default route by 10.0.0.1 on eth0: ENETUNREACH (Nexthop has invalid gateway)",
  );
  expect(isErrno(error, "ENETUNREACH")).toBe(true);
  expect(new NetlinkError("list links", 1, "").message).toBe("list links: EPERM");
});

test("lengths that lie are refused", () => {
  expect(() => decodeMessages(new ByteWriter().u32(100).zeros(12).finish())).toThrow(RangeError);
  expect(() => decodeMessages(new ByteWriter().u32(8).zeros(12).finish())).toThrow("has no header");
  expect(() => decodeAttributes(Uint8Array.of(9, 0, 1, 0, 1))).toThrow(RangeError);
  expect(() => decodeAttributes(Uint8Array.of(2, 0, 1, 0))).toThrow("has no header");
});
