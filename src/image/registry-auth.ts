// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { FailedPreconditionError, InvalidArgumentError, PermissionDeniedError } from "../errors.ts";
import { busyError, isBusy, reasonIn } from "./registry-answer.ts";
import { canonicalHost, type Endpoint } from "./registry-hosts.ts";
import { type Answer, NoAnswerError, send, type Transport } from "./registry-transport.ts";

/** Credentials as the CRI's AuthConfig has them. No field of it may reach a log or a message. */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  /** base64 of `username:password`. */
  readonly auth?: string;
  /** Refresh token for the registry's token service. */
  readonly identityToken?: string;
  /** Bearer token for the registry, used as it is. */
  readonly registryToken?: string;
  /** The registry these are for; with another one they are not used. */
  readonly serverAddress?: string;
}

export type Credentials =
  | { readonly kind: "anonymous" }
  | { readonly kind: "password"; readonly basic: string }
  | { readonly kind: "identity"; readonly token: string }
  | { readonly kind: "bearer"; readonly token: string };

/** Keeps an endpoint's Authorization header up to date as the endpoint asks for it. */
export interface Authorizer {
  /** What to send now; undefined before the endpoint has asked for anything. */
  current(): string | undefined;
  /**
   * Answers a 401 to a request that was sent with `used`: true when there is something better to send
   * now. PermissionDeniedError when there is not.
   */
  renew(challenge: string | null, used: string | undefined, transport: Transport): Promise<boolean>;
}

const ANONYMOUS: Credentials = { kind: "anonymous" };
const TOKEN_ANSWER_LIMIT_BYTES = 1 << 20;
/** RFC 6750's b64token, widened by what registries really send; nothing that could end a header. */
const TOKEN = /^[\x21-\x7e]{1,65536}$/;

/** What of `auth` is to be used towards the registry `host`. */
export function credentialsFor(auth: RegistryAuth | undefined, host: string): Credentials {
  if (auth === undefined) return ANONYMOUS;
  if (auth.serverAddress && canonicalHost(auth.serverAddress) !== canonicalHost(host)) return ANONYMOUS;
  if (auth.registryToken)
    return { kind: "bearer", token: checkedToken(auth.registryToken, "registry_token") };
  if (auth.identityToken)
    return { kind: "identity", token: checkedToken(auth.identityToken, "identity_token") };
  if (auth.username) return { kind: "password", basic: base64(`${auth.username}:${auth.password ?? ""}`) };
  if (auth.auth) return { kind: "password", basic: base64(decodedAuth(auth.auth)) };
  return ANONYMOUS;
}

/** Tells pulls with different credentials apart without keeping the credentials. */
export function fingerprintOf(auth: RegistryAuth | undefined): string {
  const { username, password, auth: encoded, identityToken, registryToken, serverAddress } = auth ?? {};
  const fields = [username, password, encoded, identityToken, registryToken, serverAddress];
  return createHash("sha256")
    .update(JSON.stringify(fields.map((field) => field ?? "")))
    .digest("hex");
}

/** Where the credentials for an endpoint come from. */
export interface CredentialSources {
  /** Of the request. */
  readonly given?: RegistryAuth | undefined;
  /** Of the configuration; looked up when the endpoint asks and the request has none for it. */
  readonly configured?: ((endpoint: Endpoint) => RegistryAuth | undefined) | undefined;
}

/**
 * Answers the challenges of `endpoint` for pulling from `repository`, or, where none is named, for being there at all.
 * A mirror is somebody else's machine: it sees no credentials but those that name it.
 */
export function createAuthorizer(
  endpoint: Endpoint,
  repository: string | undefined,
  { given, configured }: CredentialSources,
): Authorizer {
  const isMeant = endpoint.isRegistry || Boolean(given?.serverAddress);
  const own = isMeant ? credentialsFor(given, endpoint.host) : ANONYMOUS;
  const credentials = () =>
    own.kind === "anonymous" ? credentialsFor(configured?.(endpoint), endpoint.host) : own;
  let header = own.kind === "bearer" ? `Bearer ${own.token}` : undefined;
  let renewal: Promise<string> | undefined;
  return {
    current: () => header,
    async renew(challenge, used, transport) {
      if (header !== used) return true;
      const parsed = parseChallenge(challenge);
      // A new token would not be good for more than this one.
      if (used?.startsWith("Bearer ") && parsed.parameters.get("error") === "insufficient_scope") {
        throw notAdmitted(endpoint, repository);
      }
      const mine = credentials();
      renewal ??= headerFor(parsed, endpoint, repository, mine, transport).finally(() => {
        renewal = undefined;
      });
      const renewed = await renewal;
      if (renewed === used) {
        // What was given does not get better by being sent again.
        if (mine.kind === "bearer" || renewed.startsWith("Basic ")) throw refused(endpoint, mine);
        return false;
      }
      header = renewed;
      return true;
    },
  };
}

interface Challenge {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Reads a WWW-Authenticate header (RFC 9110, 11.6.1) that holds one challenge, as registries send it. */
function parseChallenge(header: string | null): Challenge {
  const match = /^\s*([A-Za-z]+)(?:\s+(.*))?$/s.exec((header ?? "").slice(0, 8192));
  const parameters = new Map<string, string>();
  for (const [, name, quoted, bare] of (match?.[2] ?? "").matchAll(
    /([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g,
  )) {
    parameters.set((name as string).toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? bare ?? "");
  }
  return { scheme: (match?.[1] ?? "").toLowerCase(), parameters };
}

async function headerFor(
  challenge: Challenge,
  endpoint: Endpoint,
  repository: string | undefined,
  credentials: Credentials,
  transport: Transport,
): Promise<string> {
  if (credentials.kind === "bearer") return `Bearer ${credentials.token}`;
  if (challenge.scheme === "bearer") {
    const token = await fetchToken(challenge, endpoint, repository, credentials, transport);
    return `Bearer ${token}`;
  }
  if (challenge.scheme === "basic" && credentials.kind === "password") return `Basic ${credentials.basic}`;
  throw refused(endpoint, credentials);
}

function refused(endpoint: Endpoint, credentials: Credentials, reason?: string): PermissionDeniedError {
  return new PermissionDeniedError(
    credentials.kind === "anonymous"
      ? `${endpoint.host} asks for credentials, and none were given for it${said(reason)}`
      : `${endpoint.host} does not accept the credentials given${said(reason)}`,
  );
}

function said(reason: string | undefined): string {
  return reason === undefined ? "" : ` (${reason})`;
}

/** Registries do not tell those who may not know whether there is such a repository. */
function notAdmitted(endpoint: Endpoint, repository = "anything"): PermissionDeniedError {
  return new PermissionDeniedError(
    `${endpoint.host} does not let ${repository} be pulled (insufficient_scope): ` +
      "it does not exist there, or needs other credentials",
  );
}

/** Asks the token service that the challenge names (distribution specification, token authentication). */
async function fetchToken(
  challenge: Challenge,
  endpoint: Endpoint,
  repository: string | undefined,
  credentials: Credentials,
  transport: Transport,
): Promise<string> {
  const realm = checkedRealm(challenge.parameters.get("realm"), endpoint);
  const service = challenge.parameters.get("service");
  const usual = repository === undefined ? undefined : `repository:${repository}:pull`;
  const scope = challenge.parameters.get("scope") ?? usual;
  const parameters = new URLSearchParams({
    ...(service === undefined ? {} : { service }),
    ...(scope === undefined ? {} : { scope }),
  });
  try {
    const answer = await (credentials.kind === "identity"
      ? send(refreshRequest(realm, parameters, credentials.token), transport)
      : send(tokenRequest(realm, parameters, credentials), transport));
    return await readToken(answer, realm, endpoint, credentials);
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error;
    const message = `the token service of ${endpoint.host}: ${error.message}`;
    throw new NoAnswerError(message, error.how, { cause: error });
  }
}

function tokenRequest(realm: URL, parameters: URLSearchParams, credentials: Credentials) {
  const url = new URL(realm);
  for (const [name, value] of parameters) url.searchParams.set(name, value);
  return {
    url: url.href,
    authorization: credentials.kind === "password" ? `Basic ${credentials.basic}` : undefined,
  };
}

function refreshRequest(realm: URL, parameters: URLSearchParams, token: string) {
  parameters.set("grant_type", "refresh_token");
  parameters.set("client_id", "podrt");
  parameters.set("refresh_token", token);
  return {
    method: "POST" as const,
    url: realm.href,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: parameters.toString(),
  };
}

async function readToken(
  answer: Answer,
  realm: URL,
  endpoint: Endpoint,
  credentials: Credentials,
): Promise<string> {
  const { bytes, isWhole } = await answer.bytes(TOKEN_ANSWER_LIMIT_BYTES);
  if (answer.status === 400 || answer.status === 401 || answer.status === 403) {
    throw refused(endpoint, credentials, reasonIn(bytes));
  }
  if (answer.status !== 200) {
    const sentence = `${realm.host}, the token service of ${endpoint.host}, answered ${answer.status}${said(reasonIn(bytes))}`;
    throw isBusy(answer) ? busyError(sentence, answer) : new FailedPreconditionError(sentence);
  }
  const token = isWhole ? tokenIn(new TextDecoder().decode(bytes)) : undefined;
  if (token === undefined) {
    throw new FailedPreconditionError(`${realm.host}, the token service of ${endpoint.host}, sent no token`);
  }
  return token;
}

function tokenIn(text: string): string | undefined {
  try {
    const { token, access_token } = JSON.parse(text) as Record<string, unknown>;
    const value = token || access_token;
    return typeof value === "string" && TOKEN.test(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Credentials travel to the realm: it must be https, unless the registry itself is spoken to in the clear. */
function checkedRealm(realm: string | undefined, endpoint: Endpoint): URL {
  const url = URL.parse(realm ?? "");
  if (url === null || url.username !== "" || url.password !== "") {
    throw new FailedPreconditionError(
      `${endpoint.host} asks for a token but names no address to get it from`,
    );
  }
  const isPlain = endpoint.origin.startsWith("http:") && url.protocol === "http:";
  if (url.protocol !== "https:" && !isPlain) {
    throw new FailedPreconditionError(
      `${endpoint.host} sends for its token to ${url.host}, which is not https; credentials stay here`,
    );
  }
  return url;
}

function decodedAuth(auth: string): string {
  const decoded = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
  if (!/^[A-Za-z0-9+/_-]+=*$/.test(auth) || !decoded.includes(":")) {
    throw new InvalidArgumentError("auth.auth", "is not the base64 form of username:password");
  }
  return decoded;
}

function checkedToken(token: string, field: string): string {
  if (!TOKEN.test(token)) throw new InvalidArgumentError(`auth.${field}`, "contains characters no token has");
  return token;
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
