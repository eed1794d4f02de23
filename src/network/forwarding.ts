// SPDX-License-Identifier: Apache-2.0
import { writeFile } from "node:fs/promises";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { O_RDONLY } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { bootId } from "../linux/process.ts";
import { syscall } from "../linux/syscall.ts";
import type { Table } from "../state/table.ts";
import {
  hearRoutersAlways,
  hearRoutersUnlessForwarding,
  linksWithAdvertisedRoutes,
} from "./advertised-routes.ts";
import { type FoundTable, findTables } from "./nat-table.ts";
import type { Family } from "./subnet.ts";

/** The kernel parameter that lets the machine forward a family's packets, and where its former value is kept. */
interface Parameter {
  readonly name: string;
  readonly path: string;
  readonly setting: string;
  /** Begins the comment of a table, the value follows. */
  readonly comment: string;
}

const PARAMETERS: Readonly<Record<Family, Parameter>> = {
  4: {
    name: "net.ipv4.ip_forward",
    path: "/proc/sys/net/ipv4/ip_forward",
    setting: "network.ip_forward",
    comment: "podrt: ip_forward was ",
  },
  // The setting of a single interface does not make it forward; all of them is what counts.
  6: {
    name: "net.ipv6.conf.all.forwarding",
    path: "/proc/sys/net/ipv6/conf/all/forwarding",
    setting: "network.ipv6_forwarding",
    comment: "podrt: forwarding was ",
  },
};
const COMMENT_OF_LINKS = "; accept_ra was 1 on ";
/** What nft's own comments may have, less what stands before. */
const LINKS_LIMIT_BYTES = 75;

/** What the machine was like before podrt changed it. */
interface Former {
  readonly value: string;
  /** Interfaces that had to be told to go on hearing routers. */
  readonly links?: readonly string[];
}

/** The same, in the boot in which it was so. */
interface FormerRecord extends Former {
  readonly bootId: string;
}

/**
 * Keeps what a family's parameter is like before the machine is let forward. Several instances of podrt may share one
 * machine: the value from before the first of them is in the comment of each one's nftables table of that
 * family, and the last to go restores it. Returns the comment for this one's, which is to stand before
 * `enableForwarding`: who comes meanwhile would take podrt's value for the machine's.
 */
export async function noteForwarding(
  settings: Table<unknown>,
  family: Family,
  table: string,
): Promise<string> {
  const former = recorded(settings, family) ?? (await inherited(family, table)) ?? (await asFound(family));
  settings.put(PARAMETERS[family].setting, { bootId: bootId(), ...former } satisfies FormerRecord);
  return commentOf(family, former);
}

/** Lets the machine forward packets of a family, after `noteForwarding`. */
export async function enableForwarding(settings: Table<unknown>, family: Family): Promise<void> {
  if (isForwarding(family)) return;
  hearRoutersAlways(recorded(settings, family)?.links ?? []);
  await setForwarding(family, "1");
}

/** Puts the parameter back to what it was before podrt, while this instance's table still says so, unless others are there. */
export async function restoreForwarding(
  settings: Table<unknown>,
  family: Family,
  table: string,
): Promise<void> {
  const former = recorded(settings, family);
  if (former?.value === "0" && (await inherited(family, table)) === undefined) {
    await setForwarding(family, "0");
    hearRoutersUnlessForwarding(former.links ?? []);
  }
  settings.delete(PARAMETERS[family].setting);
}

/** Takes the former value from this instance's own nftables table where the record of it was lost, as with a damaged database. */
export function recoverForwarding(settings: Table<unknown>, { family, comment }: FoundTable): void {
  if (recorded(settings, family) !== undefined) return;
  const former = parseComment(family, comment);
  if (former === undefined) return;
  settings.put(PARAMETERS[family].setting, { bootId: bootId(), ...former } satisfies FormerRecord);
}

/** True when the machine forwards packets of a family. */
export function isForwarding(family: Family): boolean {
  return read(family) !== "0";
}

/** True while this instance holds the parameter. */
export function holdsForwarding(settings: Table<unknown>, family: Family): boolean {
  return settings.get(PARAMETERS[family].setting) !== undefined;
}

async function asFound(family: Family): Promise<Former> {
  const value = read(family);
  if (family === 4 || value !== "0") return { value };
  return { value, links: await linksWithAdvertisedRoutes() };
}

function recorded(settings: Table<unknown>, family: Family): Former | undefined {
  const former = settings.get(PARAMETERS[family].setting) as FormerRecord | undefined;
  if (former?.bootId !== bootId()) return undefined;
  const { value, links } = former;
  return links === undefined ? { value } : { value, links };
}

/** The former value according to another instance that is in business. */
async function inherited(family: Family, table: string): Promise<Former | undefined> {
  const others = (await findTables()).filter((one) => one.family === family && one.name !== table);
  return others.map(({ comment }) => parseComment(family, comment)).find((former) => former !== undefined);
}

/** Of many interfaces the comment names the first few; all stand in the record. */
function commentOf(family: Family, { value, links = [] }: Former): string {
  const kept: string[] = [];
  for (const link of links) {
    if ([...kept, link].join(" ").length <= LINKS_LIMIT_BYTES) kept.push(link);
  }
  const more = kept.length === 0 ? "" : `${COMMENT_OF_LINKS}${kept.join(" ")}`;
  return `${PARAMETERS[family].comment}${value}${more}`;
}

function parseComment(family: Family, comment: string): Former | undefined {
  const { comment: prefix } = PARAMETERS[family];
  if (!comment.startsWith(prefix)) return undefined;
  const [value = "", links] = comment.slice(prefix.length).split(COMMENT_OF_LINKS);
  return links === undefined ? { value } : { value, links: links.split(" ") };
}

const VALUE_BYTES = 16;
/** Kept open: under its name the kernel knows such a file once for each network namespace, and tries one after the other. */
const files = new Map<Family, Fd>();

function read(family: Family): string {
  const file = files.get(family) ?? open(PARAMETERS[family].path, O_RDONLY);
  files.set(family, file);
  const value = new Uint8Array(VALUE_BYTES);
  const count = syscall("pread64", file.number, value, value.length, 0);
  return new TextDecoder().decode(value.subarray(0, count)).trim();
}

/** Every interface of the machine is changed, which takes the kernel tens of milliseconds. */
async function setForwarding(family: Family, value: string): Promise<void> {
  const { name, path } = PARAMETERS[family];
  try {
    await writeFile(path, value);
  } catch (error) {
    throw new FailedPreconditionError(
      `cannot set ${name} to ${value}, which pods need to reach other machines: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
