// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, messageOf, PermissionDeniedError, type PodrtError } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import { isDigest } from "../oci/digest.ts";
import { INDEX_TYPES, MANIFEST_TYPES } from "../oci/manifest.ts";
import type { Reference } from "../oci/reference.ts";
import { restate } from "./pull-error.ts";
import {
  BusyError,
  failedAnswer,
  type ManifestAnswer,
  RangeRefusedError,
  readBlob,
  readManifest,
} from "./registry-answer.ts";
import { type Authorizer, createAuthorizer, type RegistryAuth } from "./registry-auth.ts";
import type { Endpoint } from "./registry-hosts.ts";
import { type Answer, NoAnswerError, type Request, send } from "./registry-transport.ts";

/**
 * One pull's conversation with a registry and its mirrors (OCI distribution specification): endpoints
 * are tried in order, the one that answered is preferred from then on, what is transient is tried
 * again, and a broken download goes on where it broke.
 */
export interface RegistrySession {
  /** Digest the registry has for a tag, without fetching the manifest; undefined if it does not say. */
  resolve(tag: string, signal?: AbortSignal): Promise<string | undefined>;
  /** A manifest or index by tag or digest, whole and bounded; by digest it is verified. */
  manifest(tagOrDigest: string, signal?: AbortSignal): Promise<ManifestAnswer>;
  /**
   * A blob's bytes from `offset` on, not verified: the content store does that. The first `skip` endpoints are left
   * out, for when those have sent something else.
   */
  blob(
    wanted: { readonly digest: string; readonly size: number },
    signal?: AbortSignal,
    skip?: number,
    offset?: number,
  ): AsyncGenerator<Uint8Array>;
  /** Hosts in the order in which they are asked. */
  hosts(): string[];
}

export interface SessionOptions {
  readonly reference: Reference;
  readonly endpoints: readonly Endpoint[];
  readonly auth?: RegistryAuth | undefined;
  /** Credentials of the configuration for an endpoint; asked when the endpoint does and `auth` is not for it. */
  readonly configuredAuth?: ((endpoint: Endpoint) => RegistryAuth | undefined) | undefined;
  readonly stallTimeoutMs: number;
  /** First wait before something is tried again; doubles each time. */
  readonly backoffMs?: number;
}

const TRIES_LIMIT = 5;
const RENEWALS_LIMIT = 2;
/** Who wants to be left alone for longer is not asked again. */
const BACKOFF_LIMIT_MS = 10_000;
/** A connection that brought this much before it broke does not count as a failed try. */
const PROGRESS_BYTES = 1 << 20;
const MANIFEST_HEADERS = { accept: [...INDEX_TYPES, ...MANIFEST_TYPES].join(", ") };

/** Opens a conversation; nothing is sent yet. InvalidArgumentError for malformed credentials. */
export function openSession(options: SessionOptions): RegistrySession {
  const { backoffMs = 250 } = options;
  const request = createRequester(options);
  const wait: Wait = (tries, error, signal) => {
    const asked = error instanceof BusyError ? error.retryAfterMs : 0;
    return sleep(Math.max(asked, Math.min(BACKOFF_LIMIT_MS, backoffMs * 2 ** (tries - 1))), signal);
  };
  let endpoints: readonly Endpoint[] = options.endpoints;
  const anyOf = async <T>(
    able: (endpoint: Endpoint) => boolean,
    signal: AbortSignal | undefined,
    attempt: (endpoint: Endpoint) => Promise<T>,
  ) => {
    const asked = endpoints.filter(able);
    if (asked.length === 0) throw nobodyMay(options.reference);
    const { endpoint, result } = await firstToSucceed(asked, attempt, wait, signal);
    endpoints = preferring(endpoint, asked, endpoints);
    return result;
  };
  const resolve = (tag: string, signal?: AbortSignal) =>
    anyOf(mayResolve, signal, async (endpoint) => {
      const extra = { method: "HEAD", headers: MANIFEST_HEADERS } as const;
      const answer = await request(endpoint, `manifests/${tag}`, signal, extra);
      if (answer.status !== 200) throw await failedAnswer(endpoint, answer);
      await answer.discard();
      const digest = answer.headers.get("docker-content-digest");
      return digest !== null && isDigest(digest) ? digest : undefined;
    });
  const manifestFrom = (
    able: (endpoint: Endpoint) => boolean,
    tagOrDigest: string,
    signal: AbortSignal | undefined,
  ) =>
    anyOf(able, signal, async (endpoint) => {
      const extra = { headers: MANIFEST_HEADERS };
      const answer = await request(endpoint, `manifests/${tagOrDigest}`, signal, extra);
      if (answer.status !== 200) throw await failedAnswer(endpoint, answer);
      return readManifest(endpoint, answer, tagOrDigest);
    });
  return {
    hosts: () => endpoints.filter(mayPull).map(({ host }) => host),
    resolve,
    async manifest(tagOrDigest, signal) {
      if (isDigest(tagOrDigest)) return manifestFrom(mayPull, tagOrDigest, signal);
      if (endpoints.every((endpoint) => mayPull(endpoint) || !mayResolve(endpoint))) {
        return manifestFrom(mayResolve, tagOrDigest, signal);
      }
      // One that may say what a tag stands for may not be pulled from.
      const digest = await resolve(tagOrDigest, signal);
      if (digest !== undefined) return manifestFrom(mayPull, digest, signal);
      throw new FailedPreconditionError(
        `${endpoints.find(mayResolve)?.host} does not say what ${tagOrDigest} is`,
      );
    },
    blob: (wanted, signal, skip = 0, offset = 0) =>
      blobFromAny(endpoints.filter(mayPull).slice(skip), { ...wanted, offset }, request, wait, signal),
  };
}

const mayPull = ({ canPull }: Endpoint) => canPull;
const mayResolve = ({ canResolve }: Endpoint) => canResolve;

/** The order from now on: those that failed before `answered` come last. */
function preferring(
  answered: Endpoint,
  asked: readonly Endpoint[],
  endpoints: readonly Endpoint[],
): readonly Endpoint[] {
  const failed = new Set(asked.slice(0, asked.indexOf(answered)));
  // Once a host has answered over https or http, the other scheme is out of the question.
  const remaining = endpoints.filter((other) => other === answered || !isSameServer(other, answered));
  return [
    ...remaining.filter((endpoint) => !failed.has(endpoint)),
    ...remaining.filter((endpoint) => failed.has(endpoint)),
  ];
}

/** Whether these are the two schemes in which one server may be spoken to. */
function isSameServer(one: Endpoint, other: Endpoint): boolean {
  return one.host === other.host && one.isFallback !== other.isFallback;
}

function nobodyMay({ host }: Reference): FailedPreconditionError {
  return new FailedPreconditionError(
    `no server that is configured for ${host} has the capability for this: see its hosts.toml, capabilities`,
  );
}

/** How long to leave an endpoint alone after its `tries`-th failure. */
type Wait = (tries: number, error: unknown, signal: AbortSignal | undefined) => Promise<void>;
type SendTo = ReturnType<typeof createRequester>;

interface Failure {
  readonly endpoint: Endpoint;
  readonly error: unknown;
}

/** Tries one endpoint after the other, each again while what fails is transient. */
async function firstToSucceed<T>(
  endpoints: readonly Endpoint[],
  attempt: (endpoint: Endpoint) => Promise<T>,
  wait: Wait,
  signal: AbortSignal | undefined,
): Promise<{ endpoint: Endpoint; result: T }> {
  const failures: Failure[] = [];
  for (const endpoint of endpoints) {
    if (isPointless(endpoint, failures)) continue;
    for (let tries = 1; ; tries++) {
      try {
        return { endpoint, result: await attempt(endpoint) };
      } catch (error) {
        signal?.throwIfAborted();
        if (tries === TRIES_LIMIT || !isTransient(error)) {
          failures.push({ endpoint, error });
          break;
        }
        await wait(tries, error, signal);
      }
    }
  }
  throw combined(failures);
}

/** A blob's bytes, each once, from as many connections and endpoints as it takes. */
async function* blobFromAny(
  endpoints: readonly Endpoint[],
  wanted: { readonly digest: string; readonly size: number; readonly offset: number },
  request: SendTo,
  wait: Wait,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const failures: Failure[] = [];
  let { offset } = wanted;
  for (const endpoint of endpoints) {
    if (isPointless(endpoint, failures)) continue;
    let sendsParts = true;
    for (let tries = 1; ; tries++) {
      const before = offset;
      try {
        const isPart = sendsParts && offset > 0;
        const headers: Record<string, string> = isPart ? { range: `bytes=${offset}-` } : {};
        const answer = await request(endpoint, `blobs/${wanted.digest}`, signal, { headers });
        if (answer.status !== 200 && answer.status !== 206) throw await failedAnswer(endpoint, answer);
        for await (const chunk of readBlob(endpoint, answer, wanted.size, offset)) {
          offset += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (offset - before >= PROGRESS_BYTES) tries = 0;
        if (error instanceof RangeRefusedError && sendsParts && offset > 0) {
          sendsParts = false;
          continue;
        }
        if (tries === TRIES_LIMIT || !(isTransient(error) || isInterruption(error, offset > wanted.offset))) {
          failures.push({ endpoint, error });
          break;
        }
        await wait(Math.max(1, tries), error, signal);
      }
    }
  }
  throw combined(failures);
}

/** Sends requests to one endpoint or another, and answers what each asks of credentials. */
function createRequester({ reference, endpoints, auth, configuredAuth, stallTimeoutMs }: SessionOptions) {
  const sources = { given: auth, configured: configuredAuth };
  const authorizers = new Map<Endpoint, Authorizer>(
    endpoints.map((endpoint) => [endpoint, createAuthorizer(endpoint, reference.path, sources)]),
  );
  return async (
    endpoint: Endpoint,
    path: string,
    signal: AbortSignal | undefined,
    extra: Pick<Request, "method" | "headers">,
  ): Promise<Answer> => {
    const authorizer = authorizers.get(endpoint) as Authorizer;
    const query = endpoint.namespace === undefined ? "" : `?ns=${encodeURIComponent(endpoint.namespace)}`;
    const url = `${endpoint.base}/${reference.path}/${path}${query}`;
    for (let renewals = 0; ; renewals++) {
      const authorization = authorizer.current();
      const transport = { endpoint, stallTimeoutMs, signal };
      const answer = await send({ ...extra, url, authorization }, transport);
      // Only the endpoint itself may ask for credentials, not where it redirected to.
      if (answer.status !== 401 || answer.origin !== endpoint.origin || renewals === RENEWALS_LIMIT) {
        return answer;
      }
      await answer.discard();
      const challenge = answer.headers.get("www-authenticate");
      if (!(await authorizer.renew(challenge, authorization, transport))) {
        throw new PermissionDeniedError(`${endpoint.host} answered 401 (unauthorized)`);
      }
    }
  };
}

/** A fallback is for an endpoint that did not answer, not for one that said no or speaks TLS. */
function isPointless(endpoint: Endpoint, failures: readonly Failure[]): boolean {
  const last = failures.at(-1)?.error;
  const isSilent = last instanceof NoAnswerError && last.how !== "untrusted";
  return endpoint.isFallback && last !== undefined && !isSilent;
}

function isTransient(error: unknown): boolean {
  if (error instanceof BusyError) return error.retryAfterMs <= BACKOFF_LIMIT_MS;
  return error instanceof NoAnswerError && error.how === "broken";
}

/** In the middle of a blob a stall, or a server that restarts, is worth waiting for too. */
function isInterruption(error: unknown, hasBegun: boolean): boolean {
  return error instanceof NoAnswerError && (error.how === "stalled" || hasBegun);
}

/** One error for all endpoints: of the kind the registry itself caused, with what each of them said. */
function combined(failures: readonly Failure[]): PodrtError {
  const decisive = failures.findLast(({ endpoint }) => endpoint.isRegistry) ?? failures.at(-1);
  // Where plain http was answered, that https was not spoken there explains nothing; unless it was not understood.
  const isAnswered =
    decisive?.endpoint.isFallback &&
    !(decisive.error instanceof NoAnswerError || decisive.error instanceof FailedPreconditionError);
  const told = failures.filter(({ endpoint }) => !isAnswered || !endpoint.isRegistry || endpoint.isFallback);
  const messages = new Set(told.map(({ error }) => messageOf(error)));
  return restate(decisive?.error, [...messages].join("; "));
}
