// SPDX-License-Identifier: Apache-2.0

/**
 * The errors podrt raises on purpose. Each says in one sentence what was being done to what, why it
 * failed and, where a person can act, what to do. `cri/errors.ts` alone maps them to gRPC codes.
 */
export type ErrorKind =
  | "InvalidArgument"
  | "NotFound"
  | "AlreadyExists"
  | "FailedPrecondition"
  | "Unavailable"
  | "ResourceExhausted"
  | "DeadlineExceeded"
  | "Canceled"
  | "PermissionDenied"
  | "Unimplemented"
  | "Internal";

export class PodrtError extends Error {
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = `${kind}Error`;
    this.kind = kind;
  }
}

/** A request or document that fails validation; `path` is the bad field, as in `config.metadata.name`. */
export class InvalidArgumentError extends PodrtError {
  readonly path: string;

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super("InvalidArgument", path === "" ? problem : `${path}: ${problem}`, options);
    this.path = path;
  }
}

function errorClass(kind: ErrorKind) {
  return class extends PodrtError {
    constructor(message: string, options?: ErrorOptions) {
      super(kind, message, options);
    }
  };
}

/** The named object does not exist. */
export class NotFoundError extends errorClass("NotFound") {}
/** A name is reserved by another object. */
export class AlreadyExistsError extends errorClass("AlreadyExists") {}
/** The object is in a state that does not allow the operation. */
export class FailedPreconditionError extends errorClass("FailedPrecondition") {}
/** A peer (registry, monitor, daemon) cannot be reached or is not ready. */
export class UnavailableError extends errorClass("Unavailable") {}
/** A bound was hit: disk, memory, addresses, sessions. */
export class ResourceExhaustedError extends errorClass("ResourceExhausted") {}
/** podrt's own deadline for the operation has passed. */
export class DeadlineExceededError extends errorClass("DeadlineExceeded") {}
/** The caller gave up. */
export class CanceledError extends errorClass("Canceled") {}
/** The kernel or a registry refused for want of privilege. */
export class PermissionDeniedError extends errorClass("PermissionDenied") {}
/** A field or call of the interface that podrt does not honour; the message names it. */
export class UnimplementedError extends errorClass("Unimplemented") {}
/** A defect of podrt's, or of the machine, that the caller can do nothing about. */
export class InternalError extends errorClass("Internal") {}

/** The sentence to show for anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
