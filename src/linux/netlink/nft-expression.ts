// SPDX-License-Identifier: Apache-2.0
import type { ByteWriter } from "../../lib/bytes.ts";
import { IFNAMSIZ } from "../abi/if-link.ts";
import {
  IPS_DST_NAT,
  NF_DROP,
  NFPROTO_IPV4,
  NFT_CMP_EQ,
  NFT_CMP_NEQ,
  NFT_CT_STATUS,
  NFT_FIB_RESULT_ADDRTYPE,
  NFT_META_IIFNAME,
  NFT_META_L4PROTO,
  NFT_META_OIFNAME,
  NFT_NAT_DNAT,
  NFT_PAYLOAD_NETWORK_HEADER,
  NFT_PAYLOAD_TRANSPORT_HEADER,
  NFT_REG_1,
  NFT_REG_VERDICT,
  NFT_REG32_00,
  NFT_REG32_01,
  NFTA_BITWISE_DREG,
  NFTA_BITWISE_LEN,
  NFTA_BITWISE_MASK,
  NFTA_BITWISE_SREG,
  NFTA_BITWISE_XOR,
  NFTA_CMP_DATA,
  NFTA_CMP_OP,
  NFTA_CMP_SREG,
  NFTA_CT_DREG,
  NFTA_CT_KEY,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_EXPR_DATA,
  NFTA_EXPR_NAME,
  NFTA_FIB_DREG,
  NFTA_FIB_F_DADDR,
  NFTA_FIB_FLAGS,
  NFTA_FIB_RESULT,
  NFTA_IMMEDIATE_DATA,
  NFTA_IMMEDIATE_DREG,
  NFTA_LOOKUP_DREG,
  NFTA_LOOKUP_SET,
  NFTA_LOOKUP_SREG,
  NFTA_META_DREG,
  NFTA_META_KEY,
  NFTA_NAT_FAMILY,
  NFTA_NAT_REG_ADDR_MIN,
  NFTA_NAT_REG_PROTO_MIN,
  NFTA_NAT_TYPE,
  NFTA_PAYLOAD_BASE,
  NFTA_PAYLOAD_DREG,
  NFTA_PAYLOAD_LEN,
  NFTA_PAYLOAD_OFFSET,
  NFTA_VERDICT_CODE,
} from "../abi/nf-tables.ts";
import { RTN_LOCAL } from "../abi/rtnetlink.ts";
import { putBytes, putNested, putText, putU32be } from "./message.ts";

/** One step of a rule, as the attributes that describe it. Steps hand values on in register 1. */
export type Expression = (writer: ByteWriter) => void;

/** Where in an IPv4 header. */
export type AddressField = "source" | "destination";

/** Field offsets of struct iphdr, and of the destination port that TCP, UDP and SCTP have in one place. */
const ADDRESS_OFFSET: Record<AddressField, number> = { source: 12, destination: 16 };
const DESTINATION_PORT_OFFSET = 2;

/** `iifname NAME`, `oifname NAME`, or with `not`, any other one. */
export function interfaceIs(direction: "in" | "out", name: string, not = false): Expression[] {
  const padded = new Uint8Array(IFNAMSIZ);
  padded.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  const key = direction === "in" ? NFT_META_IIFNAME : NFT_META_OIFNAME;
  return [loadMeta(key, NFT_REG_1), compare(padded, not)];
}

/** `ip saddr NETWORK/PREFIX` or `ip daddr NETWORK/PREFIX`. */
export function addressIn(field: AddressField, network: Uint8Array, prefixLength: number): Expression[] {
  return [loadAddress(field, NFT_REG_1), mask(prefixMask(prefixLength)), compare(network)];
}

/** `fib daddr type local`: the packet is for this machine. */
export function destinationIsLocal(): Expression[] {
  const load = expression("fib", (w) => {
    putU32be(w, NFTA_FIB_DREG, NFT_REG_1);
    putU32be(w, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    putU32be(w, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
  });
  return [load, compare(hostOrder(RTN_LOCAL))];
}

/** `ct status dnat`: the connection was sent to another destination than it asked for. */
export function isDestinationNat(): Expression[] {
  const load = expression("ct", (w) => {
    putU32be(w, NFTA_CT_DREG, NFT_REG_1);
    putU32be(w, NFTA_CT_KEY, NFT_CT_STATUS);
  });
  return [load, mask(hostOrder(IPS_DST_NAT)), compare(hostOrder(0), true)];
}

/** Loads protocol and destination port, with the destination address before them where that counts too. */
export function loadDestination(withAddress: boolean): Expression[] {
  const first = withAddress ? NFT_REG32_01 : NFT_REG32_00;
  const address = withAddress ? [loadAddress("destination", NFT_REG32_00)] : [];
  return [...address, loadMeta(NFT_META_L4PROTO, first), loadPort(first + 1)];
}

/** Looks the loaded key up and goes on with its value; a key that is not there ends the rule. */
export function lookup(map: string): Expression {
  return expression("lookup", (w) => {
    putText(w, NFTA_LOOKUP_SET, map);
    putU32be(w, NFTA_LOOKUP_SREG, NFT_REG_1);
    putU32be(w, NFTA_LOOKUP_DREG, NFT_REG_1);
  });
}

/** `dnat to`: the loaded address and port become the destination. */
export function destinationNat(): Expression {
  return expression("nat", (w) => {
    putU32be(w, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    putU32be(w, NFTA_NAT_FAMILY, NFPROTO_IPV4);
    putU32be(w, NFTA_NAT_REG_ADDR_MIN, NFT_REG32_00);
    putU32be(w, NFTA_NAT_REG_PROTO_MIN, NFT_REG32_01);
  });
}

/** `masquerade`: the source becomes the address of the interface by which the packet leaves. */
export function masquerade(): Expression {
  return expression("masq", () => {});
}

export function drop(): Expression {
  return expression("immediate", (w) => {
    putU32be(w, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    putNested(w, NFTA_IMMEDIATE_DATA, (data) =>
      putNested(data, NFTA_DATA_VERDICT, (verdict) => putU32be(verdict, NFTA_VERDICT_CODE, NF_DROP)),
    );
  });
}

/** The bytes of a mask of so many leading ones. */
function prefixMask(prefixLength: number): Uint8Array {
  const ones = prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
  return Uint8Array.of(ones >>> 24, ones >>> 16, ones >>> 8, ones);
}

function expression(name: string, fill: (w: ByteWriter) => void): Expression {
  return (w) => {
    putText(w, NFTA_EXPR_NAME, name);
    putNested(w, NFTA_EXPR_DATA, fill);
  };
}

function loadMeta(key: number, register: number): Expression {
  return expression("meta", (w) => {
    putU32be(w, NFTA_META_DREG, register);
    putU32be(w, NFTA_META_KEY, key);
  });
}

function loadAddress(field: AddressField, register: number): Expression {
  return loadPayload(NFT_PAYLOAD_NETWORK_HEADER, ADDRESS_OFFSET[field], 4, register);
}

function loadPort(register: number): Expression {
  return loadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, 2, register);
}

function loadPayload(base: number, offset: number, length: number, register: number): Expression {
  return expression("payload", (w) => {
    putU32be(w, NFTA_PAYLOAD_DREG, register);
    putU32be(w, NFTA_PAYLOAD_BASE, base);
    putU32be(w, NFTA_PAYLOAD_OFFSET, offset);
    putU32be(w, NFTA_PAYLOAD_LEN, length);
  });
}

function mask(bits: Uint8Array): Expression {
  return expression("bitwise", (w) => {
    putU32be(w, NFTA_BITWISE_SREG, NFT_REG_1);
    putU32be(w, NFTA_BITWISE_DREG, NFT_REG_1);
    putU32be(w, NFTA_BITWISE_LEN, bits.length);
    putNested(w, NFTA_BITWISE_MASK, (data) => putBytes(data, NFTA_DATA_VALUE, bits));
    putNested(w, NFTA_BITWISE_XOR, (data) => putBytes(data, NFTA_DATA_VALUE, new Uint8Array(bits.length)));
  });
}

function compare(value: Uint8Array, not = false): Expression {
  return expression("cmp", (w) => {
    putU32be(w, NFTA_CMP_SREG, NFT_REG_1);
    putU32be(w, NFTA_CMP_OP, not ? NFT_CMP_NEQ : NFT_CMP_EQ);
    putNested(w, NFTA_CMP_DATA, (data) => putBytes(data, NFTA_DATA_VALUE, value));
  });
}

/** Numbers that the kernel computes itself are in the machine's order, little-endian here. */
function hostOrder(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
