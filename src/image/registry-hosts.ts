// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { FailedPreconditionError } from "../errors.ts";
import { DEFAULT_HOST } from "../oci/reference.ts";
import { type HostDirectory, readHostDirectory } from "./hosts-dir.ts";
import type { HostEntry } from "./hosts-file.ts";
import { readIdentity, trustWith } from "./pem-files.ts";
import { type Access, USUAL_ACCESS } from "./registry-transport.ts";

/** One address at which the manifests and blobs of a registry may be found. */
export interface Endpoint {
  /** What `/NAME/manifests/TAG` is appended to: `https://quay.io/v2`. */
  readonly base: string;
  /** Scheme, host and port: credentials and tokens never leave it. */
  readonly origin: string;
  /** Host and port, for messages. */
  readonly host: string;
  /** The registry that the reference names, not a mirror: the caller's credentials are meant for it. */
  readonly isRegistry: boolean;
  /** Set for mirrors: tells one that mirrors several registries which is meant (`?ns=docker.io`). */
  readonly namespace?: string;
  /** To be tried only when the endpoint before it did not answer at all. */
  readonly isFallback: boolean;
  /** What it is asked for: manifests and blobs by digest, and what a tag stands for. */
  readonly canPull: boolean;
  readonly canResolve: boolean;
  /** How it is spoken to. */
  readonly access: Access;
}

/** What is configured for a registry. */
export interface HostPlan {
  /** Where that stands: a directory, a table of the configuration, or undefined for what goes without saying. */
  readonly source: string | undefined;
  /** In the order in which they are asked. */
  readonly endpoints: readonly Endpoint[];
}

/** Where Docker Hub keeps its registry. */
const DOCKER_HUB = "registry-1.docker.io";

/**
 * Where to look for the images of `host`, in order: its mirrors, then the registry itself. Plain http
 * is spoken to the registry where the configuration says so, and, as docker and containerd do, to one
 * on loopback that does not answer to https. A table of the configuration counts before a directory of
 * `certsDir`, which has the form of containerd's. FailedPreconditionError or InvalidArgumentError for what is
 * wrong in the files of `certsDir`.
 */
export function hostPlan(host: string, registries: Config["registries"], certsDir: string): HostPlan {
  const table = registries[host];
  if (table !== undefined) {
    const mirrors = table.mirrors.map((mirror) => mirrorEndpoint(new URL(mirror), host));
    const itself = table.plain_http ? [schemeOf("http", host, false)] : defaultEndpoints(host, USUAL_ACCESS);
    return { source: `registries.${JSON.stringify(host)}`, endpoints: [...mirrors, ...itself] };
  }
  const configured = readHostDirectory(certsDir, host);
  if (configured !== undefined) return directoryPlan(configured, host);
  return { source: undefined, endpoints: defaultEndpoints(host, USUAL_ACCESS) };
}

/** True for `localhost`, 127.0.0.0/8 and ::1, whatever the port. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}

/** Host of a server address, which may be a URL with a path, as in `https://index.docker.io/v1/`. */
export function canonicalHost(address: string): string {
  const host = address
    .replace(/^[a-z]+:\/\//i, "")
    .replace(/[/?#].*$/, "")
    .replace(/:443$/, "")
    .toLowerCase();
  return host === "index.docker.io" || host === DOCKER_HUB ? DEFAULT_HOST : host;
}

function schemeOf(scheme: "http" | "https", host: string, isFallback: boolean): Endpoint {
  const { origin, host: shown } = new URL(`${scheme}://${host === DEFAULT_HOST ? DOCKER_HUB : host}`);
  return {
    base: `${origin}/v2`,
    origin,
    host: shown,
    isRegistry: true,
    isFallback,
    canPull: true,
    canResolve: true,
    access: USUAL_ACCESS,
  };
}

function defaultEndpoints(host: string, access: Access): Endpoint[] {
  const secure = { ...schemeOf("https", host, false), access };
  return isLoopback(host) ? [secure, { ...schemeOf("http", host, true), access }] : [secure];
}

/** A mirror's path, if any, comes before `/v2`, unless it already starts with it (a proxy project below /v2). */
function mirrorEndpoint(url: URL, namespace: string): Endpoint {
  const path = url.pathname.replace(/\/+$/, "");
  const base = path === "/v2" || path.startsWith("/v2/") ? path : `${path}/v2`;
  return {
    base: `${url.origin}${base}`,
    origin: url.origin,
    host: url.host,
    isRegistry: false,
    namespace,
    isFallback: false,
    canPull: true,
    canResolve: true,
    access: USUAL_ACCESS,
  };
}

/** What a directory says of `host`, ready to be used. */
export function directoryPlan({ directory, hosts, server }: HostDirectory, host: string): HostPlan {
  const endpoints = [...hosts, server].flatMap((entry) => entryEndpoints(entry, host, directory));
  const bases = endpoints.map(({ base }) => base);
  return {
    source: directory,
    // The registry itself may stand among the hosts too.
    endpoints: endpoints.filter(({ base }, position) => bases.indexOf(base) === position),
  };
}

function entryEndpoints(entry: HostEntry, host: string, directory: string): Endpoint[] {
  const { url, canPull, canResolve } = entry;
  const access = accessOf(entry, directory);
  if (url === undefined) {
    return defaultEndpoints(host, access).map((endpoint) => ({ ...endpoint, canPull, canResolve }));
  }
  const path = url.pathname.replace(/\/+$/, "");
  const isRegistry = canonicalHost(url.host) === canonicalHost(host);
  const at = ({ origin }: URL, isFallback: boolean): Endpoint => ({
    base: `${origin}${entry.overridesPath || path.endsWith("/v2") ? path : `${path}/v2`}`,
    origin,
    host: url.host,
    isRegistry,
    ...(isRegistry ? {} : { namespace: host }),
    isFallback,
    canPull,
    canResolve,
    access,
  });
  // As containerd reads it: a port that may speak either, with settings that only TLS has.
  const isEither = url.protocol === "http:" && url.port !== "" && hasTlsSettings(entry);
  return isEither ? [at(new URL(`https://${url.host}`), false), at(url, true)] : [at(url, false)];
}

function hasTlsSettings({ ca, client, skipVerify }: HostEntry): boolean {
  return ca.length > 0 || client.length > 0 || skipVerify;
}

function accessOf(entry: HostEntry, directory: string): Access {
  const { ca, client, skipVerify, headers, dialTimeoutMs, proxy } = entry;
  const [pair, second] = client;
  if (second !== undefined) {
    throw new FailedPreconditionError(
      `${directory}: client: names ${client.length} certificates, and podrt shows a server one; leave one`,
    );
  }
  return {
    tls: {
      ...(ca.length === 0 ? {} : { ca: trustWith(ca) }),
      ...(skipVerify ? { rejectUnauthorized: false } : {}),
    },
    ...(pair === undefined ? {} : { identity: readIdentity(...pair) }),
    headers,
    ...(dialTimeoutMs === undefined ? {} : { dialTimeoutMs }),
    ...(proxy === undefined ? {} : { proxy }),
  };
}
