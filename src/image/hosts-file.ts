// SPDX-License-Identifier: Apache-2.0
import { parse } from "smol-toml";
import * as v from "valibot";
import { InvalidArgumentError, messageOf } from "../errors.ts";

/*
 * containerd's hosts.toml (its docs/hosts.md): which servers are asked for the images of one registry, and how
 * each is spoken to. Unlike there, a key that nobody knows is an error.
 */

export interface HostEntry {
  /** Undefined in the entry that stands for the registry itself, when the file names no `server`. */
  readonly url: URL | undefined;
  readonly canPull: boolean;
  readonly canResolve: boolean;
  /** Paths of PEM files, as written. */
  readonly ca: readonly string[];
  /** Paths of a certificate and its key; without the second, both are in the first. */
  readonly client: readonly (readonly [string, string | undefined])[];
  readonly skipVerify: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** The URL's path is the whole prefix of the API: no `/v2` is appended. */
  readonly overridesPath: boolean;
  readonly dialTimeoutMs: number | undefined;
  readonly proxy: string | undefined;
}

export interface HostsFile {
  /** In the order of the file. */
  readonly hosts: readonly HostEntry[];
  /** Asked last. */
  readonly server: HostEntry;
}

const HOSTS_LIMIT = 64;
const PATHS_LIMIT = 64;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

const path = v.pipe(v.string(), v.regex(/^[^\0]+$/, "is no path"));
const paths = v.pipe(v.array(path), v.maxLength(PATHS_LIMIT));
const headerName = v.pipe(
  v.string(),
  v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/, "is no name of a header"),
);
const headerValue = v.pipe(v.string(), v.regex(/^[\t\x20-\x7e]{0,8192}$/, "is no value of a header"));

/** The address of a server, https where it does not say. */
const serverUrl = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const text = dataset.value;
    const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`);
    const isServer = url !== null && /^https?:$/.test(url.protocol) && url.hostname !== "";
    if (isServer && url.username === "" && url.password === "" && url.search === "" && url.hash === "") {
      return url;
    }
    addIssue({ message: "is no address of a server, as in https://mirror.example" });
    return NEVER;
  }),
);

const proxyUrl = v.pipe(
  v.string(),
  v.check((text) => {
    const url = URL.parse(text);
    return url !== null && /^https?:$/.test(url.protocol) && url.pathname === "/" && url.search === "";
  }, "is no address of an http or https proxy, as in http://proxy.example:3128; podrt speaks to no others"),
);

/** As Go writes durations: `1s`, `500ms`, `1m30s`. */
const duration = v.pipe(
  v.string(),
  v.regex(/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/, "is no duration as in 500ms or 1m30s"),
  v.transform((text) =>
    [...text.matchAll(/([\d.]+)(ms|s|m|h)/g)].reduce(
      (sum, [, count, unit]) => sum + Number(count) * UNIT_MS[unit as string]!,
      0,
    ),
  ),
  v.minValue(1),
  v.maxValue(UNIT_MS["h"]!),
);

const settings = {
  capabilities: v.optional(v.array(v.picklist(["pull", "resolve", "push"])), []),
  ca: v.optional(v.union([paths, path], "is neither a path nor a list of paths"), []),
  client: v.optional(
    v.union(
      [path, v.pipe(v.array(v.union([path, v.strictTuple([path, v.string()])])), v.maxLength(PATHS_LIMIT))],
      "is neither a path, nor a list of paths or of pairs of paths",
    ),
    [],
  ),
  skip_verify: v.optional(v.boolean(), false),
  header: v.optional(
    v.record(headerName, v.union([headerValue, v.array(headerValue)], "is no value of a header")),
    {},
  ),
  override_path: v.optional(v.boolean(), false),
  dial_timeout: v.optional(duration),
  proxy: v.optional(proxyUrl),
};
const table = v.custom<object>((value) => typeof value === "object" && !Array.isArray(value), "is no table");
const entrySchema = v.strictObject(settings, unknownKey);
const fileSchema = v.strictObject(
  {
    ...settings,
    server: v.optional(serverUrl),
    host: v.optional(v.pipe(table, v.record(v.string(), entrySchema)), {}),
  },
  unknownKey,
);

function unknownKey(issue: { readonly expected: string | null }): string {
  return issue.expected === "never" ? "is no key of a hosts.toml" : "is no table";
}

/** Reads the text of a hosts.toml; InvalidArgumentError naming `file` and the key that is wrong. */
export function parseHostsFile(text: string, file: string): HostsFile {
  const fail = (problem: string): never => {
    throw new InvalidArgumentError("", `${file}: ${problem}`);
  };
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    return fail(`is not TOML: ${messageOf(error).split("\n")[0]}`);
  }
  const result = v.safeParse(fileSchema, document);
  if (!result.success) {
    const [issue] = result.issues;
    return fail(`${issue.path?.map(({ key }) => String(key)).join(".") ?? "document"}: ${issue.message}`);
  }
  const { server, host } = result.output;
  const names = Object.keys(host);
  if (names.length > HOSTS_LIMIT) return fail(`has more than ${HOSTS_LIMIT} hosts, the limit`);
  const hosts = names.map((name) => {
    const url = v.safeParse(serverUrl, name);
    return url.success ? entryOf(url.output, host[name]!) : fail(`host.${name}: ${url.issues[0].message}`);
  });
  return { hosts, server: entryOf(server, result.output) };
}

function entryOf(url: URL | undefined, written: v.InferOutput<typeof entrySchema>): HostEntry {
  const { capabilities, ca, client, header } = written;
  const can = (capability: "pull" | "resolve") =>
    capabilities.length === 0 || capabilities.includes(capability);
  const pairs = typeof client === "string" ? [client] : client;
  return {
    url,
    canPull: can("pull"),
    canResolve: can("resolve"),
    ca: typeof ca === "string" ? [ca] : ca,
    client: pairs.map((pair) =>
      typeof pair === "string" ? ([pair, undefined] as const) : ([pair[0], pair[1] || undefined] as const),
    ),
    skipVerify: written.skip_verify,
    headers: Object.fromEntries(
      Object.entries(header).map(([name, value]) => [
        name.toLowerCase(),
        typeof value === "string" ? value : value.join(", "),
      ]),
    ),
    overridesPath: written.override_path,
    dialTimeoutMs: written.dial_timeout,
    proxy: written.proxy,
  };
}
