// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../../errors.ts";

/** What one check has found. */
export interface Finding {
  readonly area: "machine" | "podrt";
  /** As in `disk`; several findings may have the same. */
  readonly check: string;
  readonly verdict: "ok" | "warning" | "failure";
  readonly text: string;
  /** What to do about it. */
  readonly advice?: string;
  /** What podrt itself can do about it: only to what is its own. */
  readonly fix?: Fix;
}

export interface Fix {
  /** As in `remove cgroup /podrt/1234`. */
  readonly what: string;
  run(): Promise<void> | void;
}

/** A check in one area, as a list of what it finds; one that cannot be made is a warning. */
export async function check(
  area: Finding["area"],
  name: string,
  look: () => Promise<Omit<Finding, "area" | "check">[]> | Omit<Finding, "area" | "check">[],
): Promise<Finding[]> {
  try {
    return (await look()).map((found) => ({ area, check: name, ...found }));
  } catch (error) {
    return [{ area, check: name, verdict: "warning", text: `cannot be looked at: ${messageOf(error)}` }];
  }
}

export function ok(text: string): Omit<Finding, "area" | "check"> {
  return { verdict: "ok", text };
}

export function warning(text: string, advice: string, fix?: Fix): Omit<Finding, "area" | "check"> {
  return { verdict: "warning", text, advice, ...(fix === undefined ? {} : { fix }) };
}

export function failure(text: string, advice: string, fix?: Fix): Omit<Finding, "area" | "check"> {
  return { verdict: "failure", text, advice, ...(fix === undefined ? {} : { fix }) };
}
