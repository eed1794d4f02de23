// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import type { Table } from "../state/table.ts";
import { findTables } from "./nat-table.ts";

const IP_FORWARD = "/proc/sys/net/ipv4/ip_forward";
const BOOT_ID = "/proc/sys/kernel/random/boot_id";
const SETTING = "network.ip_forward";
const COMMENT_PREFIX = "podrt: ip_forward was ";

/** What ip_forward was before podrt changed it, in the boot in which it did. */
interface FormerForwarding {
  readonly bootId: string;
  readonly value: string;
}

/**
 * Lets the machine forward packets, keeping the former value first. Several instances of podrt may share
 * one machine: the value from before the first of them is in the comment of each one's nftables table,
 * and the last to go restores it. Returns the comment for this one's.
 */
export async function enableForwarding(settings: Table<unknown>, table: string): Promise<string> {
  const current = readFileSync(IP_FORWARD, "utf8").trim();
  const former = recorded(settings) ?? (await inherited(table)) ?? current;
  settings.put(SETTING, { bootId: bootId(), value: former } satisfies FormerForwarding);
  if (current === "0") await setForwarding("1");
  return COMMENT_PREFIX + former;
}

/** Puts ip_forward back to what it was before podrt, once this instance's table is gone. */
export async function restoreForwarding(settings: Table<unknown>, table: string): Promise<void> {
  const former = recorded(settings);
  if (former === "0" && (await inherited(table)) === undefined) await setForwarding("0");
  settings.delete(SETTING);
}

/** Takes the former value from this instance's own nftables table where the record of it was lost, as with a damaged database. */
export async function recoverForwarding(settings: Table<unknown>, table: string): Promise<void> {
  if (recorded(settings) !== undefined) return;
  const own = (await findTables()).find(({ name }) => name === table)?.comment;
  if (!own?.startsWith(COMMENT_PREFIX)) return;
  const value = own.slice(COMMENT_PREFIX.length);
  settings.put(SETTING, { bootId: bootId(), value } satisfies FormerForwarding);
}

/** True when the machine forwards packets. */
export function isForwarding(): boolean {
  return readFileSync(IP_FORWARD, "utf8").trim() !== "0";
}

/** True while this instance holds ip_forward. */
export function holdsForwarding(settings: Table<unknown>): boolean {
  return settings.get(SETTING) !== undefined;
}

function recorded(settings: Table<unknown>): string | undefined {
  const former = settings.get(SETTING) as FormerForwarding | undefined;
  return former?.bootId === bootId() ? former.value : undefined;
}

/** The former value according to another instance that is in business. */
async function inherited(table: string): Promise<string | undefined> {
  const others = (await findTables()).filter(({ name }) => name !== table);
  const comment = others.find((other) => other.comment.startsWith(COMMENT_PREFIX))?.comment;
  return comment?.slice(COMMENT_PREFIX.length);
}

/** Every interface of the machine is changed, which takes the kernel tens of milliseconds. */
async function setForwarding(value: string): Promise<void> {
  try {
    await writeFile(IP_FORWARD, value);
  } catch (error) {
    throw new FailedPreconditionError(
      `cannot set net.ipv4.ip_forward to ${value}, which pods need to reach other machines: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function bootId(): string {
  return readFileSync(BOOT_ID, "utf8").trim();
}
