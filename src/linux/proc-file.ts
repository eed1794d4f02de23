// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

/** The text of a file of /proc or /sys; empty where it is gone, as its process may be, or may not be read. */
export function procText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
