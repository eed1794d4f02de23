// SPDX-License-Identifier: Apache-2.0
import { ByteReader, type ByteWriter } from "../../lib/bytes.ts";
import {
  NFGENMSG_BYTES,
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NFNL_SUBSYS_NFTABLES,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
} from "../abi/netlink.ts";
import {
  NF_ACCEPT,
  NF_DROP,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFPROTO_UNSPEC,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  NFT_SET_MAP,
  NFTA_CHAIN_HOOK,
  NFTA_CHAIN_NAME,
  NFTA_CHAIN_POLICY,
  NFTA_CHAIN_TABLE,
  NFTA_CHAIN_TYPE,
  NFTA_DATA_VALUE,
  NFTA_HOOK_HOOKNUM,
  NFTA_HOOK_PRIORITY,
  NFTA_LIST_ELEM,
  NFTA_RULE_CHAIN,
  NFTA_RULE_EXPRESSIONS,
  NFTA_RULE_TABLE,
  NFTA_SET_DATA_LEN,
  NFTA_SET_DATA_TYPE,
  NFTA_SET_ELEM_DATA,
  NFTA_SET_ELEM_KEY,
  NFTA_SET_ELEM_LIST_ELEMENTS,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  NFTA_SET_FLAGS,
  NFTA_SET_ID,
  NFTA_SET_KEY_LEN,
  NFTA_SET_KEY_TYPE,
  NFTA_SET_NAME,
  NFTA_SET_TABLE,
  NFTA_TABLE_NAME,
  NFTA_TABLE_USERDATA,
} from "../abi/nf-tables.ts";
import {
  body,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  putBytes,
  putNested,
  putText,
  putU32be,
  textOf,
} from "./message.ts";
import type { Expression } from "./nft-expression.ts";

/** Type of a comment in nft's user data; a length byte follows, and text with its NUL. */
const UDATA_COMMENT = 0;
const COMMENT_LIMIT_BYTES = 128;

/**
 * Puts changes between the messages that make them one transaction: the kernel makes all of them at
 * once, or none. `subject` names it in errors about the whole.
 */
export function transaction(subject: string, changes: readonly NetlinkRequest[]): NetlinkRequest[] {
  const edge = (type: number): NetlinkRequest => ({
    operation: `change ${subject}`,
    type,
    flags: 0,
    body: body((w) => w.u8(NFPROTO_UNSPEC).u8(0).u16be(NFNL_SUBSYS_NFTABLES)),
  });
  return [edge(NFNL_MSG_BATCH_BEGIN), ...changes, edge(NFNL_MSG_BATCH_END)];
}

/** A table of one family; tables of both may have the same name. */
export interface NftTable {
  readonly family: 4 | 6;
  readonly name: string;
}

const FAMILY_NUMBERS = { 4: NFPROTO_IPV4, 6: NFPROTO_IPV6 } as const;

/** Creates a table; one that exists is left as it is, with its former comment. */
export function addTable(table: NftTable, comment: string): NetlinkRequest {
  return change(NFT_MSG_NEWTABLE, NLM_F_CREATE, "add nftables table", table, "", (w) => {
    putText(w, NFTA_TABLE_NAME, table.name);
    putBytes(w, NFTA_TABLE_USERDATA, commentBytes(comment));
  });
}

/** Removes a table with all that is in it. */
export function deleteTable(table: NftTable): NetlinkRequest {
  return change(NFT_MSG_DELTABLE, 0, "remove nftables table", table, "", (w) =>
    putText(w, NFTA_TABLE_NAME, table.name),
  );
}

/** Asks for the tables of all families; answers: `decodeTable`. */
export function listTables(): NetlinkRequest {
  return {
    operation: "list nftables tables",
    type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE,
    flags: 0,
    body: body((w) => w.u8(NFPROTO_UNSPEC).zeros(NFGENMSG_BYTES - 1)),
  };
}

/** Reads the answer to `listTables`; undefined for a table that is of neither family alone. */
export function decodeTable({ payload }: NetlinkMessage): (NftTable & { comment: string }) | undefined {
  const family = ([4, 6] as const).find((version) => FAMILY_NUMBERS[version] === payload[0]);
  if (family === undefined) return undefined;
  const attributes = decodeAttributes(payload.subarray(NFGENMSG_BYTES));
  const userData = attributes.get(NFTA_TABLE_USERDATA);
  const name = textOf(attributes.get(NFTA_TABLE_NAME) ?? new Uint8Array());
  return { family, name, comment: userData === undefined ? "" : commentIn(userData) };
}

/** A chain that is there, with what becomes of packets that no rule decides about. */
export interface FoundChain {
  readonly family: number;
  readonly table: string;
  readonly name: string;
  /** NF_INET_ number; undefined for a chain that others jump to. */
  readonly hook: number | undefined;
  readonly isDropping: boolean;
}

/** Asks for the chains of all families; answers: `decodeChain`. */
export function listChains(): NetlinkRequest {
  return {
    operation: "list nftables chains",
    type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN,
    flags: 0,
    body: body((w) => w.u8(NFPROTO_UNSPEC).zeros(NFGENMSG_BYTES - 1)),
  };
}

/** Reads the answer to `listChains`. */
export function decodeChain({ payload }: NetlinkMessage): FoundChain {
  const attributes = decodeAttributes(payload.subarray(NFGENMSG_BYTES));
  const text = (type: number) => textOf(attributes.get(type) ?? new Uint8Array());
  const number = (value: Uint8Array | undefined) =>
    value === undefined ? undefined : new DataView(value.buffer, value.byteOffset).getUint32(0);
  const hook = attributes.get(NFTA_CHAIN_HOOK);
  return {
    family: payload[0] ?? NFPROTO_UNSPEC,
    table: text(NFTA_CHAIN_TABLE),
    name: text(NFTA_CHAIN_NAME),
    hook: hook && number(decodeAttributes(hook).get(NFTA_HOOK_HOOKNUM)),
    isDropping: number(attributes.get(NFTA_CHAIN_POLICY)) === NF_DROP,
  };
}

/** A chain that the kernel runs at a hook; packets that no rule decides about go on. */
export interface BaseChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  /** NF_INET_ number. */
  readonly hook: number;
  readonly priority: number;
}

export function addChain(table: NftTable, chain: BaseChain): NetlinkRequest {
  return change(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "add nftables chain", table, chain.name, (w) => {
    putText(w, NFTA_CHAIN_TABLE, table.name);
    putText(w, NFTA_CHAIN_NAME, chain.name);
    putText(w, NFTA_CHAIN_TYPE, chain.type);
    putU32be(w, NFTA_CHAIN_POLICY, NF_ACCEPT);
    putNested(w, NFTA_CHAIN_HOOK, (hook) => {
      putU32be(hook, NFTA_HOOK_HOOKNUM, chain.hook);
      putU32be(hook, NFTA_HOOK_PRIORITY, chain.priority);
    });
  });
}

/** Appends a rule: its expressions run in order until one does not match. */
export function addRule(table: NftTable, chain: string, rule: readonly Expression[]): NetlinkRequest {
  const operation = "add a rule to nftables chain";
  return change(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, operation, table, chain, (w) => {
    putText(w, NFTA_RULE_TABLE, table.name);
    putText(w, NFTA_RULE_CHAIN, chain);
    putNested(w, NFTA_RULE_EXPRESSIONS, (list) => {
      for (const expression of rule) putNested(list, NFTA_LIST_ELEM, expression);
    });
  });
}

/**
 * A part of a key or value: nft's number for the type, and its bytes. Parts are padded to a multiple of four
 * bytes each, as registers are.
 */
export interface MapPart {
  readonly type: number;
  readonly bytes: number;
}

/** nft's types, by the numbers that `nft list` reads them back with. */
export const IPV4_ADDRESS: MapPart = { type: 7, bytes: 4 };
export const IPV6_ADDRESS: MapPart = { type: 8, bytes: 16 };
export const INET_PROTOCOL: MapPart = { type: 12, bytes: 1 };
export const INET_SERVICE: MapPart = { type: 13, bytes: 2 };

export interface NftMap {
  readonly name: string;
  /** A number that is the map's own within its transaction. */
  readonly id: number;
  readonly key: readonly MapPart[];
  readonly value: readonly MapPart[];
}

export function addMap(table: NftTable, map: NftMap): NetlinkRequest {
  return change(NFT_MSG_NEWSET, NLM_F_CREATE, "add nftables map", table, map.name, (w) => {
    putText(w, NFTA_SET_TABLE, table.name);
    putText(w, NFTA_SET_NAME, map.name);
    putU32be(w, NFTA_SET_ID, map.id);
    putU32be(w, NFTA_SET_FLAGS, NFT_SET_MAP);
    putU32be(w, NFTA_SET_KEY_TYPE, concatenated(map.key));
    putU32be(w, NFTA_SET_KEY_LEN, paddedLength(map.key.map(({ bytes }) => bytes)));
    putU32be(w, NFTA_SET_DATA_TYPE, concatenated(map.value));
    putU32be(w, NFTA_SET_DATA_LEN, paddedLength(map.value.map(({ bytes }) => bytes)));
  });
}

/** A key and value of a map, part by part, each part's bytes in network order. */
export interface MapElement {
  readonly key: readonly Uint8Array[];
  readonly value: readonly Uint8Array[];
}

/** Adds elements; one that is there is left, one whose key has another value is refused with EBUSY. */
export function addElements(table: NftTable, map: string, elements: readonly MapElement[]): NetlinkRequest {
  return change(NFT_MSG_NEWSETELEM, NLM_F_CREATE, "add to nftables map", table, map, (w) =>
    putElements(w, table, map, elements),
  );
}

/** Removes elements; one that is not there is refused with ENOENT. */
export function deleteElements(
  table: NftTable,
  map: string,
  elements: readonly MapElement[],
): NetlinkRequest {
  return change(NFT_MSG_DELSETELEM, 0, "remove from nftables map", table, map, (w) =>
    putElements(w, table, map, elements),
  );
}

function putElements(w: ByteWriter, table: NftTable, map: string, elements: readonly MapElement[]): void {
  putText(w, NFTA_SET_ELEM_LIST_TABLE, table.name);
  putText(w, NFTA_SET_ELEM_LIST_SET, map);
  putNested(w, NFTA_SET_ELEM_LIST_ELEMENTS, (list) => {
    for (const { key, value } of elements) {
      putNested(list, NFTA_LIST_ELEM, (element) => {
        putNested(element, NFTA_SET_ELEM_KEY, (data) => putBytes(data, NFTA_DATA_VALUE, padded(key)));
        putNested(element, NFTA_SET_ELEM_DATA, (data) => putBytes(data, NFTA_DATA_VALUE, padded(value)));
      });
    }
  });
}

/** A message of nf_tables: struct nfgenmsg with the family, then attributes. `subject` is what of the table it is about. */
function change(
  type: number,
  flags: number,
  operation: string,
  { family, name }: NftTable,
  subject: string,
  fill: (w: ByteWriter) => void,
): NetlinkRequest {
  return {
    operation: `${operation} ${family === 4 ? "ip" : "ip6"} ${name} ${subject}`.trimEnd(),
    type: (NFNL_SUBSYS_NFTABLES << 8) | type,
    flags: flags | NLM_F_ACK,
    body: body((w) => {
      w.u8(FAMILY_NUMBERS[family]).zeros(NFGENMSG_BYTES - 1);
      fill(w);
    }),
  };
}

/** nft's number for several types side by side: six bits each. */
function concatenated(parts: readonly MapPart[]): number {
  return parts.reduce((number, part) => (number << 6) | part.type, 0);
}

function padded(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(paddedLength(parts.map(({ length }) => length)));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += paddedLength([part.length]);
  }
  return bytes;
}

function paddedLength(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + Math.ceil(length / 4) * 4, 0);
}

function commentBytes(comment: string): Uint8Array {
  const text = new TextEncoder().encode(`${comment}\0`);
  if (text.length > COMMENT_LIMIT_BYTES) throw new RangeError(`comment of ${text.length} bytes`);
  return Uint8Array.of(UDATA_COMMENT, text.length, ...text);
}

/** The comment among the user data of a table, which anybody may have written. */
function commentIn(userData: Uint8Array): string {
  const reader = new ByteReader(userData);
  while (reader.remaining >= 2) {
    const type = reader.u8();
    const length = reader.u8();
    if (length > reader.remaining) break;
    const value = reader.bytes(length);
    if (type === UDATA_COMMENT) return textOf(value);
  }
  return "";
}
