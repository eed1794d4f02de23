// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { invalid, shown } from "./validate-fields.ts";

/** One of each family is usual; Kubernetes allows no more. */
const MAX_CIDRS = 16;

/** The subnets of `10.244.1.0/24,fd00::/64`; none of nothing. */
export function cidrsOf(list: string): string[] {
  return list === "" ? [] : list.split(",").map((cidr) => cidr.trim());
}

export function checkCidrs(path: string, list: string): void {
  const cidrs = cidrsOf(list);
  if (cidrs.length > MAX_CIDRS) invalid(path, `must not have more than ${MAX_CIDRS} subnets`);
  for (const cidr of cidrs) {
    if (!ipaddr.isValidCIDR(cidr)) {
      invalid(path, `must be subnets as in 10.244.1.0/24 with commas between, but has ${shown(cidr)}`);
    }
  }
}
