// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";

/**
 * The records of one pax extended header (POSIX pax, "pax Extended Header"): each is
 * `LENGTH KEY=VALUE\n`, LENGTH counting the whole record in bytes. Keys and values are binary strings.
 */
export function parsePaxRecords(content: Uint8Array): Map<string, string> {
  const text = Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString("latin1");
  const records = new Map<string, string>();
  let offset = 0;
  while (offset < text.length) {
    const space = text.indexOf(" ", offset);
    const digits = text.slice(offset, space < 0 ? offset : space);
    const end = offset + Number(digits);
    const isWellFormed =
      /^[0-9]{1,8}$/.test(digits) && end > space + 1 && end <= text.length && text[end - 1] === "\n";
    const equals = isWellFormed ? text.indexOf("=", space) : -1;
    if (equals <= space + 1 || equals >= end) {
      throw new InvalidArgumentError("", `a pax header has a malformed record at byte ${offset}`);
    }
    records.set(text.slice(space + 1, equals), text.slice(equals + 1, end - 1));
    offset = end;
  }
  return records;
}

/** Seconds and nanoseconds of a pax time such as `1350244992.023960108` or `-1.5`. */
export function parsePaxTime(value: string): { seconds: number; nanoseconds: number } {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]{0,64}))?$/.exec(value);
  if (match === null) throw new InvalidArgumentError("", `a pax header has a malformed time "${value}"`);
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? "").padEnd(9, "0").slice(0, 9));
  if (match[1] === "") return { seconds, nanoseconds };
  // -1.5 is half a second before -1: nanoseconds always count forward.
  return nanoseconds === 0
    ? { seconds: -seconds || 0, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** A non-negative integer of a pax header. */
export function parsePaxInteger(key: string, value: string): number {
  const parsed = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(parsed)) {
    throw new InvalidArgumentError("", `a pax header has "${value}" as ${key}, which is no usable number`);
  }
  return parsed;
}
