// SPDX-License-Identifier: Apache-2.0
import {
  FailedPreconditionError,
  NotFoundError,
  PermissionDeniedError,
  type PodrtError,
  UnavailableError,
} from "../errors.ts";
import { printable } from "../lib/foreign-text.ts";
import { digestOf, isDigest, matchesDigest } from "../oci/digest.ts";
import { MANIFEST_LIMIT_BYTES } from "../oci/manifest.ts";
import type { Endpoint } from "./registry-hosts.ts";
import type { Answer } from "./registry-transport.ts";

export interface ManifestAnswer {
  readonly bytes: Uint8Array;
  readonly digest: string;
  /** What the registry called it; undefined when it called it nothing. */
  readonly mediaType: string | undefined;
}

/** An answer that is worth another try: too many requests, or an error of the server's own. */
export class BusyError extends UnavailableError {
  /** How long the server asked to be left alone. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** A server that does not send the rest of a blob which it was asked for; it may still send all of it. */
export class RangeRefusedError extends FailedPreconditionError {}

const ERROR_BODY_LIMIT_BYTES = 16 * 1024;
const DAY_MS = 86_400_000;
const REASON_LIMIT_CHARACTERS = 200;
const BUSY_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Reads a manifest answered with 200: whole, bounded, and with the digest that was asked for or announced. */
export async function readManifest(
  endpoint: Endpoint,
  answer: Answer,
  tagOrDigest: string,
): Promise<ManifestAnswer> {
  const { bytes, isWhole } = await answer.bytes(MANIFEST_LIMIT_BYTES);
  if (!isWhole) {
    throw new FailedPreconditionError(
      `${endpoint.host} sent a manifest of more than ${MANIFEST_LIMIT_BYTES} bytes, the limit`,
    );
  }
  const announced = answer.headers.get("docker-content-digest");
  const wanted = isDigest(tagOrDigest) ? tagOrDigest : announced;
  if (wanted !== null && isDigest(wanted) && !matchesDigest(bytes, wanted)) {
    throw new FailedPreconditionError(
      `${endpoint.host} sent a manifest with the wrong digest ${digestOf(bytes)} where ${wanted} was announced`,
    );
  }
  const mediaType = answer.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  return { bytes, digest: isDigest(tagOrDigest) ? tagOrDigest : digestOf(bytes), mediaType };
}

/**
 * The part of a blob of `size` bytes that begins at `offset`, from the answer to a request for it. A
 * server that ignores the Range header sends all of it: the part before `offset` is dropped.
 */
export async function* readBlob(
  endpoint: Endpoint,
  answer: Answer,
  size: number,
  offset: number,
): AsyncGenerator<Uint8Array> {
  const isPart = answer.status === 206;
  checkExtent(endpoint, answer, size, offset);
  let position = isPart ? offset : 0;
  for await (const chunk of answer.chunks()) {
    const skipped = Math.min(chunk.length, Math.max(0, offset - position));
    position += chunk.length;
    if (skipped < chunk.length) yield chunk.subarray(skipped);
  }
  if (position < size) {
    throw new FailedPreconditionError(
      `${endpoint.host} sent a truncated blob, ${position} bytes where the manifest says ${size}`,
    );
  }
}

/** Compares the lengths in the headers with the descriptor, before anything is downloaded. */
function checkExtent(endpoint: Endpoint, answer: Answer, size: number, offset: number): void {
  if (answer.status === 206) {
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers.get("content-range") ?? "") ?? [];
    if (Number(start) === offset && Number(total) === size) return;
    throw new RangeRefusedError(`${endpoint.host} sent another part of the blob than asked for`);
  }
  // Said twice the same it comes as a list (RFC 9110, 8.6); what is no length is left to the count.
  const [length, ...others] = new Set(answer.headers.get("content-length")?.split(/\s*,\s*/));
  if (length === undefined || others.length > 0 || !/^\d+$/.test(length) || Number(length) === size) return;
  const how = Number(length) < size ? "a truncated" : "an overlong";
  throw new FailedPreconditionError(
    `${endpoint.host} sends ${how} blob, ${length} bytes where the manifest says ${size}`,
  );
}

/** The error for an answer that is not a success. */
export async function failedAnswer(endpoint: Endpoint, answer: Answer): Promise<PodrtError> {
  const { bytes } = await answer.bytes(ERROR_BODY_LIMIT_BYTES);
  const isElsewhere = answer.origin !== endpoint.origin;
  const host = isElsewhere
    ? `${new URL(answer.origin).host}, to which ${endpoint.host} redirects,`
    : endpoint.host;
  const sentence = `${host} answered ${answer.status} (${reasonIn(bytes) ?? usualReason(answer.status)})`;
  // Elsewhere is storage reached by a signed address, which a second request renews.
  if (isBusy(answer) || (isElsewhere && answer.status === 403)) return busyError(sentence, answer);
  if (answer.status === 416) return new RangeRefusedError(sentence);
  if (answer.status === 404) return new NotFoundError(sentence);
  if (answer.status === 401 || answer.status === 403) return new PermissionDeniedError(sentence);
  return new FailedPreconditionError(sentence);
}

/** Whether the answer is worth another try. */
export function isBusy({ status }: Answer): boolean {
  return BUSY_STATUSES.has(status);
}

/** The error for an answer that is worth another try, with how long the server wants to be left alone. */
export function busyError(sentence: string, { headers }: Answer): BusyError {
  const ms = retryAfterMs(headers);
  return new BusyError(ms === 0 ? sentence : `${sentence} and wants to be left alone for ${timeIn(ms)}`, ms);
}

function timeIn(ms: number): string {
  return ms > DAY_MS ? "more than a day" : `${Math.ceil(ms / 1000)} s`;
}

/**
 * Why a server refuses, in its own words made fit for a message: the first error of the distribution specification's
 * body with its code, or what registries and token services send instead. Undefined where they say nothing.
 */
export function reasonIn(body: Uint8Array): string | undefined {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
  const { errors, message, details, error_description, error } = (document ?? {}) as Record<string, unknown>;
  const first: unknown = Array.isArray(errors)
    ? errors[0]
    : { message: message || details || error_description || error };
  const told = (first ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  const words = wordsIn(told.message);
  const code = wordsIn(told.code).toLowerCase().replaceAll("_", " ");
  // Many say the code again in their message.
  const isSaid = code === "" || words.toLowerCase().includes(code);
  const reason = isSaid ? words : [code, words].filter(Boolean).join(": ");
  return reason === "" ? undefined : reason;
}

/** A string of a server's, fit for a message; empty for what is none. */
export function wordsIn(value: unknown): string {
  return typeof value === "string" ? printable(value, REASON_LIMIT_CHARACTERS).trim() : "";
}

function usualReason(status: number): string {
  const reasons: Readonly<Record<number, string>> = {
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    416: "no such part",
    429: "too many requests",
    500: "internal error",
    502: "bad gateway",
    503: "not available",
    504: "gateway timeout",
  };
  return reasons[status] ?? "unexpected";
}

/** Retry-After is in seconds or a date (RFC 9110, 10.2.3), which is compared with the server's own clock. */
function retryAfterMs(headers: Headers): number {
  const header = headers.get("retry-after");
  if (header === null) return 0;
  const answeredMs = Date.parse(headers.get("date") ?? "") || Date.now();
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - answeredMs;
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}
