// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { messageOf, PermissionDeniedError } from "../errors.ts";
import { authFromFile } from "./auth-file.ts";
import { failedAnswer } from "./registry-answer.ts";
import { createAuthorizer } from "./registry-auth.ts";
import { connectStep, lookUpStep, tlsStep } from "./registry-check-steps.ts";
import { type Endpoint, hostPlan } from "./registry-hosts.ts";
import { send } from "./registry-transport.ts";

/** One thing that was tried: what came of it, in words. */
export interface CheckStep {
  readonly step: "dns" | "connect" | "tls" | "api" | "auth";
  readonly isOk: boolean;
  readonly text: string;
}

export interface EndpointReport {
  readonly url: string;
  readonly isRegistry: boolean;
  readonly capabilities: readonly string[];
  /** What is configured for it beyond its address; no secrets. */
  readonly settings: readonly string[];
  /** In their order, ending with the first that failed; empty where the endpoint before it made it needless. */
  readonly steps: readonly CheckStep[];
  readonly isOk: boolean;
}

export interface RegistryReport {
  readonly host: string;
  /** Where the registry is configured; undefined for what goes without saying. */
  readonly source: string | undefined;
  /** In the order in which they are asked. */
  readonly endpoints: readonly EndpointReport[];
  /** Whether images can be pulled. */
  readonly isOk: boolean;
  readonly verdict: string;
}

const STEP_LIMIT_MS = 10_000;

/** Tries everything that a pull from `host` needs, server by server, as it is configured at this moment. */
export async function checkRegistry(
  host: string,
  config: Pick<Config, "registries" | "image">,
  signal: AbortSignal,
): Promise<RegistryReport> {
  let plan: ReturnType<typeof hostPlan>;
  try {
    plan = hostPlan(host, config.registries, config.image.certs_dir);
  } catch (error) {
    const verdict = `nothing can be pulled from ${host}: ${messageOf(error)}`;
    return { host, source: undefined, endpoints: [], isOk: false, verdict };
  }
  const endpoints: EndpointReport[] = [];
  for (const endpoint of plan.endpoints) {
    const isNeedless = endpoint.isFallback && endpoints.at(-1)?.isOk === true;
    const steps = isNeedless ? [] : await stepsOf(endpoint, config.image, signal);
    endpoints.push({
      url: endpoint.base,
      isRegistry: endpoint.isRegistry,
      capabilities: [...(endpoint.canPull ? ["pull"] : []), ...(endpoint.canResolve ? ["resolve"] : [])],
      settings: settingsOf(endpoint),
      steps,
      isOk: steps.every(({ isOk }) => isOk),
    });
  }
  return { host, source: plan.source, endpoints, ...judge(host, plan.endpoints, endpoints) };
}

function judge(
  host: string,
  endpoints: readonly Endpoint[],
  reports: readonly EndpointReport[],
): Pick<RegistryReport, "isOk" | "verdict"> {
  const works = (able: (endpoint: Endpoint) => boolean) =>
    endpoints.some((endpoint, position) => able(endpoint) && reports[position]?.isOk);
  // A server that speaks only one of two schemes fails in the other.
  const failing = reports.filter(
    ({ isOk }, at) => !isOk && !(endpoints[at + 1]?.isFallback && reports[at + 1]?.isOk),
  );
  const [worst] = failing;
  const why = worst === undefined ? "" : `: ${worst.steps.at(-1)?.text}`;
  if (!works(({ canPull }) => canPull)) {
    return { isOk: false, verdict: `nothing can be pulled from ${host}${why}` };
  }
  if (!works(({ canResolve }) => canResolve)) {
    return {
      isOk: false,
      verdict: `images of ${host} can be pulled by digest only, since no tag is resolved${why}`,
    };
  }
  const verdict = `images of ${host} can be pulled`;
  if (worst === undefined) return { isOk: true, verdict };
  return { isOk: true, verdict: `${verdict}, but ${failing.length} of ${reports.length} servers fail${why}` };
}

function settingsOf({ namespace, access }: Endpoint): string[] {
  const { tls, identity, headers, dialTimeoutMs, proxy } = access;
  const names = Object.keys(headers);
  return [
    ...(namespace === undefined ? [] : [`asked with ns=${namespace}`]),
    ...(tls.ca === undefined ? [] : ["ca"]),
    ...(identity === undefined ? [] : ["client certificate"]),
    ...(tls.rejectUnauthorized === false ? ["skip_verify"] : []),
    ...(names.length === 0 ? [] : [`headers ${names.join(", ")}`]),
    ...(dialTimeoutMs === undefined ? [] : [`dial_timeout ${dialTimeoutMs} ms`]),
    ...(proxy === undefined ? [] : [`proxy ${new URL(proxy).host}`]),
  ];
}

type Attempt = readonly [CheckStep["step"], () => Promise<string>];

async function stepsOf(
  endpoint: Endpoint,
  image: Config["image"],
  signal: AbortSignal,
): Promise<CheckStep[]> {
  const { access, origin } = endpoint;
  // A proxy looks names up and connects itself; fetch speaks TLS through it.
  const peer = new URL(access.proxy ?? origin);
  const limitMs = Math.min(STEP_LIMIT_MS, image.stall_timeout_ms, access.dialTimeoutMs ?? STEP_LIMIT_MS);
  const attempts: Attempt[] = [
    ["dns", () => lookUpStep(peer, limitMs)],
    ["connect", () => connectStep(peer, limitMs)],
    ...(access.proxy === undefined && peer.protocol === "https:"
      ? [["tls", () => tlsStep(peer, access, limitMs)] as const]
      : []),
    ...apiAttempts(endpoint, image, signal),
  ];
  const steps: CheckStep[] = [];
  for (const [step, attempt] of attempts) {
    try {
      steps.push({ step, isOk: true, text: await attempt() });
    } catch (error) {
      signal.throwIfAborted();
      return [...steps, { step, isOk: false, text: messageOf(error) }];
    }
  }
  return steps;
}

function apiAttempts(endpoint: Endpoint, image: Config["image"], signal: AbortSignal): Attempt[] {
  const stallTimeoutMs = Math.min(STEP_LIMIT_MS, image.stall_timeout_ms);
  const transport = { endpoint, stallTimeoutMs, signal };
  const ping = (authorization?: string) => send({ url: `${endpoint.base}/`, authorization }, transport);
  let challenge: string | null = null;
  let asksForCredentials = false;
  const api = async () => {
    const answer = await ping();
    if (answer.status !== 200 && answer.status !== 401) throw await failedAnswer(endpoint, answer);
    await answer.discard();
    asksForCredentials = answer.status === 401 && answer.origin === endpoint.origin;
    challenge = answer.headers.get("www-authenticate");
    return `answered ${answer.status} to ${new URL(`${endpoint.base}/`).pathname}`;
  };
  const auth = async () => {
    const configured = authFromFile(image.auth_file, endpoint.host);
    if (!asksForCredentials) return "asks for no credentials";
    const authorizer = createAuthorizer(endpoint, undefined, { configured: () => configured });
    try {
      await authorizer.renew(challenge, undefined, transport);
    } catch (error) {
      if (configured !== undefined || !(error instanceof PermissionDeniedError)) throw error;
      return `asks for credentials, and ${image.auth_file} has none for it; a pull has to bring them`;
    }
    const authorization = authorizer.current();
    const answer = await ping(authorization);
    await answer.discard();
    // A token that was given out says that the credentials are good, even if not for this address.
    if (answer.status === 401 && authorization?.startsWith("Basic ")) {
      throw new PermissionDeniedError(
        `${endpoint.host} does not accept the credentials of ${image.auth_file}`,
      );
    }
    return configured === undefined
      ? "gives tokens to anybody"
      : `accepts the credentials of ${image.auth_file}`;
  };
  return [
    ["api", api],
    ["auth", auth],
  ];
}
