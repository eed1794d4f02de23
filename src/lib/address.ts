// SPDX-License-Identifier: Apache-2.0
import { isIP, isIPv4, isIPv6 } from "node:net";

/** An IP address with its port, of `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; undefined for anything else. */
export function parseAddress(
  text: string,
  defaultPort: number,
): { readonly address: string; readonly port: number } | undefined {
  if (text.includes("%")) return undefined;
  if (isIP(text) !== 0) return { address: text, port: defaultPort };
  const [, inBrackets, plain, digits] = /^(?:\[(.*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const isAddress = inBrackets === undefined ? isIPv4(plain ?? "") : isIPv6(inBrackets);
  return isAddress && port >= 1 && port <= 65_535 ? { address: inBrackets ?? plain!, port } : undefined;
}
