// SPDX-License-Identifier: Apache-2.0
import type { ByteWriter } from "../../lib/bytes.ts";
import { IFNAMSIZ } from "../abi/if-link.ts";
import {
  IPS_DST_NAT,
  NF_ACCEPT,
  NF_DROP,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
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

/** Where in the header of an IP packet. */
export type AddressField = "source" | "destination";

/** Where each family's header has its addresses, their size in bytes, and nf_tables' number for the family. */
interface Header extends Readonly<Record<AddressField, number>> {
  readonly bytes: 4 | 16;
  readonly family: number;
}
/** Of struct iphdr and struct ipv6hdr. */
const HEADERS: Readonly<Record<4 | 6, Header>> = {
  4: { source: 12, destination: 16, bytes: 4, family: NFPROTO_IPV4 },
  6: { source: 8, destination: 24, bytes: 16, family: NFPROTO_IPV6 },
};
/** TCP, UDP and SCTP have the destination port in one place. */
const DESTINATION_PORT_OFFSET = 2;
const REGISTER_BYTES = 4;

/** `iifname NAME`, `oifname NAME`, or with `not`, any other one. */
export function interfaceIs(direction: "in" | "out", name: string, not = false): Expression[] {
  const padded = new Uint8Array(IFNAMSIZ);
  padded.set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  const key = direction === "in" ? NFT_META_IIFNAME : NFT_META_OIFNAME;
  return [loadMeta(key, NFT_REG_1), compare(padded, not)];
}

/** `ip saddr NETWORK/PREFIX` or `ip daddr NETWORK/PREFIX`, or of ip6 for a network of 16 bytes. */
export function addressIn(field: AddressField, network: Uint8Array, prefixLength: number): Expression[] {
  const version = network.length === 4 ? 4 : 6;
  return [
    loadAddress(version, field, NFT_REG_1),
    mask(prefixMask(prefixLength, network.length)),
    compare(network),
  ];
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
export function loadDestination(version: 4 | 6, withAddress: boolean): Expression[] {
  const first = withAddress ? registerAfterAddress(version) : NFT_REG32_00;
  const address = withAddress ? [loadAddress(version, "destination", NFT_REG32_00)] : [];
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
export function destinationNat(version: 4 | 6): Expression {
  return expression("nat", (w) => {
    putU32be(w, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    putU32be(w, NFTA_NAT_FAMILY, HEADERS[version].family);
    putU32be(w, NFTA_NAT_REG_ADDR_MIN, NFT_REG32_00);
    putU32be(w, NFTA_NAT_REG_PROTO_MIN, registerAfterAddress(version));
  });
}

/** `masquerade`: the source becomes the address of the interface by which the packet leaves. */
export function masquerade(): Expression {
  return expression("masq", () => {});
}

export function drop(): Expression {
  return decide(NF_DROP);
}

/** The packet goes on, and no later rule of the chain sees it. */
export function accept(): Expression {
  return decide(NF_ACCEPT);
}

function decide(code: number): Expression {
  return expression("immediate", (w) => {
    putU32be(w, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    putNested(w, NFTA_IMMEDIATE_DATA, (data) =>
      putNested(data, NFTA_DATA_VERDICT, (verdict) => putU32be(verdict, NFTA_VERDICT_CODE, code)),
    );
  });
}

/** A mask of so many bytes with so many leading ones. */
function prefixMask(prefixLength: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => {
    const ones = Math.min(8, Math.max(0, prefixLength - index * 8));
    return 0xff << (8 - ones);
  });
}

/** The 32-bit register that follows an address loaded into the first ones. */
function registerAfterAddress(version: 4 | 6): number {
  return NFT_REG32_00 + HEADERS[version].bytes / REGISTER_BYTES;
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

function loadAddress(version: 4 | 6, field: AddressField, register: number): Expression {
  const header = HEADERS[version];
  return loadPayload(NFT_PAYLOAD_NETWORK_HEADER, header[field], header.bytes, register);
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
