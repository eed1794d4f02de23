// SPDX-License-Identifier: Apache-2.0
import { isIP } from "node:net";
import { CAPABILITIES } from "../../linux/capability.ts";
import { nearMiss } from "./near-miss.ts";
import { type Check, pattern } from "./scalars.ts";

/** The forms of names that Kubernetes asks for (k8s.io/apimachinery, util/validation). */
const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

export const dnsLabel: Check = pattern(
  new RegExp(`^${LABEL}$`),
  "lower-case letters, digits and '-', beginning and ending with a letter or digit",
  63,
);

export const dnsSubdomain: Check = pattern(
  new RegExp(`^${LABEL}(\\.${LABEL})*$`),
  "lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
  253,
);

/** `generateName` ends in a dash more often than not; five characters are added to it. */
export const namePrefix: Check = pattern(
  /^[a-z0-9][-a-z0-9.]*$/,
  "a beginning of a name: lower-case letters, digits, '-' and '.'",
  248,
);

/** A uid becomes part of file names. */
export const uid: Check = pattern(/^[a-z0-9][-a-z0-9]*$/, "lower-case letters, digits and '-'", 63);

export const portName: Check = pattern(
  /^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/,
  "lower-case letters, digits and single '-', with a letter",
  15,
);

export const environmentName: Check = pattern(/^[ -<>-~]+$/, "printable ASCII without '='", 4096);

export const labelValue: Check = pattern(
  /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/,
  "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
  63,
);

/** `name` or `dns.prefix/name`, the key of a label or annotation. */
export function qualifiedName(key: string): string | undefined {
  const slash = key.lastIndexOf("/");
  if (slash === 0) return `expected a prefix before '/', got ${JSON.stringify(key)}`;
  const name = key.slice(slash + 1);
  if (name === "") return `expected a name, got ${JSON.stringify(key)}`;
  return (slash > 0 ? dnsSubdomain(key.slice(0, slash).toLowerCase()) : undefined) ?? labelValue(name);
}

export function ipAddress(text: string): string | undefined {
  return isIP(text) === 0 ? `expected an IP address, got ${JSON.stringify(text)}` : undefined;
}

/** A path from the root, without `..`: the container must not be pointed out of the tree it is given. */
export function absolutePath(path: string): string | undefined {
  if (!path.startsWith("/")) return `expected an absolute path, got ${JSON.stringify(path)}`;
  if (path.includes("\0") || path.length > 4095)
    return "expected a path of at most 4095 characters without NUL";
  return path.split("/").includes("..") ? `must not contain '..', got ${JSON.stringify(path)}` : undefined;
}

/** A path below a directory that is not named, without `..`. */
export function relativePath(path: string): string | undefined {
  if (path === "" || path.startsWith("/")) return `expected a relative path, got ${JSON.stringify(path)}`;
  return absolutePath(`/${path}`);
}

export const sysctlName: Check = pattern(
  /^[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$/,
  "a kernel parameter as in net.core.somaxconn",
  253,
);

/** RFC 9110, section 5.1: a token. */
export const headerName: Check = pattern(
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/,
  "the name of an HTTP header, as in X-Probe",
  256,
);

/** A line break would end the header. */
export const headerValue: Check = pattern(/^[\t -~]*$/, "printable ASCII", 4096);

/** A path with perhaps a query; Kubernetes puts a slash before one that has none. */
export const urlPath: Check = pattern(/^[!-~]*$/, "a path as in /healthz?full=1, in printable ASCII", 4096);

/** A capability of capabilities(7) without `CAP_`; ALL stands for every one. */
export function capability(name: string): string | undefined {
  if (name === "ALL" || Object.hasOwn(CAPABILITIES, name)) return undefined;
  const meant = nearMiss(name.replace(/^cap_/i, ""), Object.keys(CAPABILITIES));
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return `expected a capability as in NET_ADMIN, got ${JSON.stringify(name)}${hint}`;
}
