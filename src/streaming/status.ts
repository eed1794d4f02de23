// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";

/*
 * How a session ended, as clients of Kubernetes read it on the error stream: from version 4 of the
 * protocol on a Status object of the API (k8s.io/apimachinery, meta/v1), before that a line of text, and
 * nothing for success.
 */

export interface Status {
  readonly metadata: object;
  readonly status: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes: readonly { readonly reason: string; readonly message: string }[] };
  readonly code?: number;
}

export const SUCCESS: Status = { metadata: {}, status: "Success" };

/** The end of a command; any exit code but 0 is a failure with the reason that clients look for. */
export function exitStatus(exitCode: number): Status {
  if (exitCode === 0) return SUCCESS;
  return {
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
}

/** A session that could not be, or did not come to its end. */
export function failureStatus(error: unknown): Status {
  return { metadata: {}, status: "Failure", message: messageOf(error), reason: "InternalError", code: 500 };
}

/** The bytes for the error stream of a client; empty when it expects none. */
export function encodeStatus(status: Status, hasObjects: boolean): Uint8Array {
  const encoder = new TextEncoder();
  if (hasObjects) return encoder.encode(JSON.stringify(status));
  return encoder.encode(status.status === "Success" ? "" : status.message);
}
