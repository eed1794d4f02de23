// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import {
  type Answer,
  answerTo,
  NOERROR,
  NXDOMAIN,
  nameBytes,
  type Query,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_PTR,
} from "./message.ts";

/** The domain that pods' names end in, as in most clusters. */
export const CLUSTER_DOMAIN = "cluster.local";
/** Addresses change when a pod is made anew: nobody is to remember them for long. */
const TTL_SECONDS = 5;
/** What a message has room for. */
const MAX_ANSWERS = 1000;
const REVERSE_IPV4 = ".in-addr.arpa";

/** Who has which name; names are relative to the domain, in lower case. */
export interface Names {
  /** Of a name as in `web-0.default.svc`; empty where it exists without one, undefined where it does not exist. */
  addressesOf(name: string): readonly string[] | undefined;
  /** The first name of whom an address belongs to. */
  nameOf(address: string): string | undefined;
}

/** Whether nobody else knows of the name: it is in the pods' domain, or the reverse one of a pod's address. */
export function isOwnName({ name }: Query, isPodAddress: (address: string) => boolean): boolean {
  const address = reverseAddress(name);
  return isInDomain(name) || (address !== undefined && isPodAddress(address));
}

/** The answer to a query for such a name. */
export function ownAnswer(query: Query, names: Names, maxBytes: number): Uint8Array {
  const { name } = query;
  if (isInDomain(name)) {
    const relative = name.slice(0, Math.max(0, name.length - CLUSTER_DOMAIN.length - 1));
    return answer(query, forwardAnswers(query, names.addressesOf(relative)), maxBytes);
  }
  const owner = names.nameOf(reverseAddress(name) ?? "");
  return answer(query, owner === undefined ? undefined : pointerAnswers(query, owner), maxBytes);
}

function isInDomain(name: string): boolean {
  return name === CLUSTER_DOMAIN || name.endsWith(`.${CLUSTER_DOMAIN}`);
}

function answer(query: Query, answers: readonly Answer[] | undefined, maxBytes: number): Uint8Array {
  const rcode = answers === undefined ? NXDOMAIN : NOERROR;
  return answerTo(
    query,
    { rcode, answers: answers ?? [], ttlSeconds: TTL_SECONDS, authority: CLUSTER_DOMAIN },
    maxBytes,
  );
}

function forwardAnswers(
  { type }: Query,
  addresses: readonly string[] | undefined,
): readonly Answer[] | undefined {
  const records = addresses?.slice(0, MAX_ANSWERS).map((address): Answer => {
    const parsed = ipaddr.parse(address);
    return {
      type: parsed.kind() === "ipv4" ? TYPE_A : TYPE_AAAA,
      data: Uint8Array.from(parsed.toByteArray()),
    };
  });
  return records?.filter((record) => type === TYPE_ANY || type === record.type);
}

function pointerAnswers({ type }: Query, owner: string): readonly Answer[] {
  if (type !== TYPE_PTR && type !== TYPE_ANY) return [];
  return [{ type: TYPE_PTR, data: nameBytes(`${owner}.${CLUSTER_DOMAIN}`) }];
}

/** The IPv4 address that a reverse name is about. */
function reverseAddress(name: string): string | undefined {
  if (!name.endsWith(REVERSE_IPV4)) return undefined;
  const address = name.slice(0, -REVERSE_IPV4.length).split(".").toReversed().join(".");
  return ipaddr.IPv4.isValidFourPartDecimal(address) ? address : undefined;
}
