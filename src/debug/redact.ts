// SPDX-License-Identifier: Apache-2.0

const HIDDEN = "(hidden)";
const SECRET_NAME =
  /pass(word|wd|phrase)|secret|token|credential|^auth$|authorization|private.?key|access.?key|api.?key/i;
/** What kubectl keeps of a whole manifest, variables included. */
const WHOLE_MANIFEST = "last-applied-configuration";
const USER_OF_URL = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi;

/**
 * A copy of a document that may be shown to others: without the values of environment variables, of fields whose name
 * says that they are secret, and of users in URLs. Commands, arguments and annotations stay, but for copies of whole
 * manifests.
 */
export function redacted(value: unknown): unknown {
  if (typeof value === "string") return value.replace(USER_OF_URL, `$1${HIDDEN}@`);
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      if (/^envs?$/i.test(name) && Array.isArray(inner)) return [name, inner.map(variable)];
      const isSecret = SECRET_NAME.test(name) || name.endsWith(WHOLE_MANIFEST);
      return [name, isSecret && inner !== "" && isScalar(inner) ? HIDDEN : redacted(inner)];
    }),
  );
}

function isScalar(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number";
}

/** `NAME=value`, or `{ name, value }` as the CRI and manifests have it: the name stays. */
function variable(entry: unknown): unknown {
  if (typeof entry === "string") return `${entry.split("=", 1)[0]}=${HIDDEN}`;
  if (typeof entry !== "object" || entry === null) return entry;
  return "value" in entry ? { ...entry, value: HIDDEN } : redacted(entry);
}
