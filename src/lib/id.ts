// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";

/** A new sandbox or container id: 64 lower-case hex characters, as the interface's clients expect. */
export function newId(): string {
  return randomBytes(32).toString("hex");
}
