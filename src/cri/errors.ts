// SPDX-License-Identifier: Apache-2.0
import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorKind, messageOf, PodrtError } from "../errors.ts";
import { isDiskFull } from "../lib/storage-error.ts";

/** The gRPC code of every kind of error; the only place that knows both. */
const CODES: Readonly<Record<ErrorKind, Code>> = {
  InvalidArgument: Code.InvalidArgument,
  NotFound: Code.NotFound,
  AlreadyExists: Code.AlreadyExists,
  FailedPrecondition: Code.FailedPrecondition,
  Unavailable: Code.Unavailable,
  ResourceExhausted: Code.ResourceExhausted,
  DeadlineExceeded: Code.DeadlineExceeded,
  Canceled: Code.Canceled,
  PermissionDenied: Code.PermissionDenied,
  Unimplemented: Code.Unimplemented,
  Internal: Code.Internal,
};

/** A message travels in an HTTP header, whose size clients bound; no sentence for a person is longer. */
const MAX_MESSAGE_LENGTH = 4096;

/**
 * What goes over the wire for anything thrown while a call was served.
 *
 * `signal` is the call's own: work that stopped because the caller gave up or its deadline passed is
 * reported as that, however it was worded on the way up; also when the transport calls it something else.
 */
export function toConnectError(error: unknown, signal: AbortSignal): ConnectError {
  const stopped = signal.aborted ? stopReason(signal) : undefined;
  if (stopped !== undefined && error === signal.reason) return stopped;
  if (error instanceof ConnectError) return error;
  if (error instanceof PodrtError) {
    const isFull = error.kind === "Internal" && isDiskFull(error);
    const kind = isFull ? "ResourceExhausted" : error.kind;
    const code = kind === "Canceled" && stopped !== undefined ? stopped.code : CODES[kind];
    return connectError(error.message, code, error);
  }
  if (isDiskFull(error)) return connectError(messageOf(error), Code.ResourceExhausted, error);
  if (stopped !== undefined && isAbort(error)) return connectError(stopped.rawMessage, stopped.code, error);
  return connectError(messageOf(error), Code.Internal, error);
}

/**
 * The kubelet shows a pod whose registry is down as RegistryUnavailable when the pull fails with the code
 * Unknown and this prefix (k8s.io/cri-api pkg/errors), and takes Unavailable for a dead runtime.
 */
export function registryUnavailable(error: PodrtError): ConnectError {
  const prefix = "RegistryUnavailable: ";
  const message = error.message.startsWith(prefix) ? error.message : prefix + error.message;
  return connectError(message, Code.Unknown, error);
}

/** The name of a code as gRPC documents it: `NotFound`, `OK` for none. */
export function codeName(error: ConnectError | undefined): string {
  return error === undefined ? "OK" : (CODE_NAMES.get(error.code) ?? `Code(${error.code})`);
}

const CODE_NAMES = new Map<number, string>(
  Object.entries(Code).flatMap(([name, code]) => (typeof code === "number" ? [[code, name] as const] : [])),
);

const STOPPED_BY_US: ReadonlySet<Code> = new Set([Code.DeadlineExceeded, Code.Unavailable]);

function connectError(message: string, code: Code, cause: unknown): ConnectError {
  return new ConnectError(message.slice(0, MAX_MESSAGE_LENGTH), code, undefined, undefined, cause);
}

/**
 * What ended a call from outside: its deadline, the end of podrt serve, or else a client that left. The code with which
 * an HTTP/2 client resets its stream is the transport's, INTERNAL_ERROR for one that fails itself: nothing of podrt's.
 */
function stopReason({ reason }: AbortSignal): ConnectError {
  if (!(reason instanceof ConnectError)) return connectError("the caller gave up", Code.Canceled, reason);
  if (STOPPED_BY_US.has(reason.code) || reason.code === Code.Canceled) return reason;
  return connectError(`the caller gave up: ${reason.rawMessage}`, Code.Canceled, reason);
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError");
}
