// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { DEFAULT_HOST } from "../oci/reference.ts";

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
}

/** Where Docker Hub keeps its registry. */
const DOCKER_HUB = "registry-1.docker.io";

/**
 * Where to look for the images of `host`, in order: its mirrors, then the registry itself. Plain http
 * is spoken to the registry where the configuration says so, and, as docker and containerd do, to one
 * on loopback that does not answer to https.
 */
export function endpointsFor(host: string, registries: Config["registries"]): Endpoint[] {
  const configured = registries[host];
  const mirrors = (configured?.mirrors ?? []).map((mirror) => mirrorEndpoint(new URL(mirror), host));
  const name = host === DEFAULT_HOST ? DOCKER_HUB : host;
  const registry = (scheme: string, isFallback: boolean): Endpoint => {
    const { origin, host: shown } = new URL(`${scheme}://${name}`);
    return { base: `${origin}/v2`, origin, host: shown, isRegistry: true, isFallback };
  };
  if (configured?.plain_http) return [...mirrors, registry("http", false)];
  const secure = registry("https", false);
  return isLoopback(host) ? [...mirrors, secure, registry("http", true)] : [...mirrors, secure];
}

/** True for `localhost`, 127.0.0.0/8 and ::1, whatever the port. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
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
  };
}
