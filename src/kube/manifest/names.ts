// SPDX-License-Identifier: Apache-2.0
import { isIP } from "node:net";
import { CAPABILITIES } from "../../linux/capability.ts";
import { parseIndexes } from "../indexes.ts";
import { nearMiss } from "./near-miss.ts";
import { type Check, pattern } from "./scalars.ts";

/** Adds what was probably meant, where `mend` and the ends alone lead to what is right. */
function suggesting(check: Check, mend: (text: string) => string): Check {
  return (text) => {
    const wrong = check(text);
    const meant = mend(text).replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
    return wrong === undefined || meant === "" || check(meant) !== undefined
      ? wrong
      : `${wrong}; did you mean ${meant}?`;
  };
}

/** The forms of names that Kubernetes asks for (k8s.io/apimachinery, util/validation). */
const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

export const dnsLabel: Check = suggesting(
  pattern(
    new RegExp(`^${LABEL}$`),
    "lower-case letters, digits and '-', beginning and ending with a letter or digit",
    63,
  ),
  (text) => text.toLowerCase().replace(/[^a-z0-9-]+/g, "-"),
);

export const dnsSubdomain: Check = suggesting(
  pattern(
    new RegExp(`^${LABEL}(\\.${LABEL})*$`),
    "lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
    253,
  ),
  (text) => text.toLowerCase().replace(/[^a-z0-9.-]+/g, "-"),
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

export const labelValue: Check = suggesting(
  pattern(
    /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/,
    "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    63,
  ),
  (text) => text.replace(/[^-A-Za-z0-9_.]+/g, "-"),
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

/** A key of a ConfigMap or Secret: it becomes the name of a file. */
export function configKey(key: string): string | undefined {
  if (key === "." || key.startsWith(".."))
    return `expected a key that is a file's name, got ${JSON.stringify(key)}`;
  return CONFIG_KEY(key);
}

const CONFIG_KEY = pattern(/^[-._A-Za-z0-9]+$/, "letters, digits, '-', '_' and '.'", 253);

/** What a file may hold; a whole manifest is no larger. */
export const anyText: Check = () => undefined;

/** RFC 4648, section 4, with line breaks as a file that was encoded has them. */
export function base64(text: string): string | undefined {
  const joined = text.replace(/[\r\n]/g, "");
  if (joined.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(joined)) return undefined;
  return "expected base64; a Secret takes plain text in stringData";
}

export const secretType: Check = pattern(/^[-./A-Za-z0-9_]*$/, "a type as in Opaque", 253);

/** A file below a volume's directory; names that begin with `..` are the volume's own. */
export function fileBelow(path: string): string | undefined {
  const wrong = relativePath(path);
  if (wrong !== undefined) return wrong;
  return path.startsWith("..") ? `must not begin with '..', got ${JSON.stringify(path)}` : undefined;
}

/** Empty means the volume itself. */
export function subPath(path: string): string | undefined {
  return path === "" ? undefined : relativePath(path);
}

const FIELD_PATHS = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "metadata.labels",
  "metadata.annotations",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
] as const;

/** A field of a pod that may be told to its containers; one label or annotation is `metadata.labels['KEY']`. */
export function fieldPath(path: string): string | undefined {
  const [, key] = /^metadata\.(?:labels|annotations)\['([^']*)'\]$/.exec(path) ?? [];
  if (key !== undefined) return qualifiedName(key);
  if (FIELD_PATHS.includes(path as (typeof FIELD_PATHS)[number])) return undefined;
  const meant = nearMiss(path, FIELD_PATHS);
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return `expected a field as in metadata.name, got ${JSON.stringify(path)}${hint}`;
}

/** The units that Kubernetes takes (core/v1, validation of divisors). */
export const divisor: Check = pattern(/^(0|1|1m|1[kMGTPE]|1[KMGTPE]i)$/, "a unit as in 1m, 1 or 1Mi");

/** A profile of AppArmor's that the machine has loaded. */
export const profileName: Check = pattern(/^\S(.*\S)?$/s, "the name of a profile", 4095);

export const selinuxPart: Check = pattern(/^[-_.:,A-Za-z0-9]*$/, "a part of an SELinux context", 256);

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

/** Numbers of the pods of an Indexed Job. */
export function indexes(text: string): string | undefined {
  if (text.length <= 65_536 && parseIndexes(text) !== undefined) return undefined;
  return `expected indexes in ascending order as in 1,3-5, got ${JSON.stringify(text.slice(0, 40))}`;
}

/** A capability of capabilities(7) without `CAP_`; ALL stands for every one. */
export function capability(name: string): string | undefined {
  if (name === "ALL" || Object.hasOwn(CAPABILITIES, name)) return undefined;
  const meant = nearMiss(name.replace(/^cap_/i, ""), Object.keys(CAPABILITIES));
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  return `expected a capability as in NET_ADMIN, got ${JSON.stringify(name)}${hint}`;
}
