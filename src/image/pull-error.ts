// SPDX-License-Identifier: Apache-2.0
import {
  CanceledError,
  DeadlineExceededError,
  type ErrorKind,
  FailedPreconditionError,
  InternalError,
  messageOf,
  NotFoundError,
  PermissionDeniedError,
  PodrtError,
  ResourceExhaustedError,
  UnavailableError,
  UnimplementedError,
} from "../errors.ts";

type ErrorClass = new (message: string, options?: ErrorOptions) => PodrtError;

const CLASSES: Readonly<Record<ErrorKind, ErrorClass>> = {
  // A malformed layer or document is invalid, but it is not the request that is.
  InvalidArgument: FailedPreconditionError,
  AlreadyExists: InternalError,
  NotFound: NotFoundError,
  FailedPrecondition: FailedPreconditionError,
  Unavailable: UnavailableError,
  ResourceExhausted: ResourceExhaustedError,
  DeadlineExceeded: DeadlineExceededError,
  Canceled: CanceledError,
  PermissionDenied: PermissionDeniedError,
  Unimplemented: UnimplementedError,
  Internal: InternalError,
};

/** What a person can do about each kind. */
const HINTS: Partial<Record<ErrorKind, string>> = {
  NotFound: "; check the name and tag",
  PermissionDenied: "; check the name and the credentials, those of the pull or of image.auth_file",
  Unavailable: "; check the network and the registries in the configuration",
};

/** An error of the same kind with another sentence; what is no error of podrt's becomes an InternalError. */
export function restate(error: unknown, message: string): PodrtError {
  const kind = error instanceof PodrtError ? error.kind : "Internal";
  return new CLASSES[kind](message, { cause: error });
}

/**
 * The sentence for a pull (`action` "pull") or import that failed: what, where and why. Unavailable
 * ones begin with `RegistryUnavailable: `, by which the kubelet tells them from others.
 */
export function imageError(action: string, reference: string, error: unknown): PodrtError {
  const kind = error instanceof PodrtError ? error.kind : "Internal";
  const prefix = kind === "Unavailable" ? "RegistryUnavailable: " : "";
  return restate(error, `${prefix}cannot ${action} ${reference}: ${messageOf(error)}${HINTS[kind] ?? ""}`);
}

/** Why the caller's signal ended the work: its own deadline, or because it went away. */
export function abortError(signal: AbortSignal): PodrtError {
  const reason: unknown = signal.reason;
  if (reason instanceof PodrtError) return reason;
  const isTimeout = reason instanceof Error && reason.name === "TimeoutError";
  return isTimeout
    ? new DeadlineExceededError("the caller's deadline has passed", { cause: reason })
    : new CanceledError("the caller has gone away", { cause: reason });
}
