// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  CanceledError,
  DeadlineExceededError,
  type ErrorKind,
  InvalidArgumentError,
  PodrtError,
  UnavailableError,
} from "../errors.ts";
import { codeName, registryUnavailable, toConnectError } from "./errors.ts";

const going = new AbortController().signal;
const timedOut = AbortSignal.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded));
const left = AbortSignal.abort();

describe("an error of podrt's", () => {
  const codes: Record<ErrorKind, Code> = {
    InvalidArgument: 3,
    NotFound: 5,
    AlreadyExists: 6,
    FailedPrecondition: 9,
    Unavailable: 14,
    ResourceExhausted: 8,
    DeadlineExceeded: 4,
    Canceled: 1,
    PermissionDenied: 7,
    Unimplemented: 12,
    Internal: 13,
  };
  for (const [kind, code] of Object.entries(codes) as [ErrorKind, Code][]) {
    test(`of kind ${kind} has gRPC code ${code}, its sentence, and its name`, () => {
      const error = toConnectError(new PodrtError(kind, "cannot do it"), going);
      expect(error.code).toBe(code);
      expect(error.rawMessage).toBe("cannot do it");
      expect(codeName(error)).toBe(kind);
    });
  }

  test("keeps the field's path in its sentence", () => {
    const error = toConnectError(
      new InvalidArgumentError("config.metadata.name", "must not be empty"),
      going,
    );
    expect(error.rawMessage).toBe("config.metadata.name: must not be empty");
  });

  test("that says canceled is DeadlineExceeded when it was the caller's deadline", () => {
    expect(toConnectError(new CanceledError("pull stopped"), timedOut).code).toBe(Code.DeadlineExceeded);
    expect(toConnectError(new CanceledError("pull stopped"), left).code).toBe(Code.Canceled);
  });

  test("of podrt's own deadline stays that, whatever the caller did", () => {
    expect(toConnectError(new DeadlineExceededError("exec"), left).code).toBe(Code.DeadlineExceeded);
  });
});

describe("anything else", () => {
  test("is Internal, with its message", () => {
    const error = toConnectError(new TypeError("x is undefined"), going);
    expect(error.code).toBe(Code.Internal);
    expect(error.rawMessage).toBe("x is undefined");
    expect(toConnectError("thrown text", going).code).toBe(Code.Internal);
  });

  test("that is an abort is what the caller's signal says", () => {
    const abort = new DOMException("The operation was aborted", "AbortError");
    expect(toConnectError(abort, timedOut).code).toBe(Code.DeadlineExceeded);
    expect(toConnectError(abort, left).code).toBe(Code.Canceled);
    expect(toConnectError(abort, going).code).toBe(Code.Internal);
  });

  test("that is the reset of the caller's stream is Canceled, whatever code that had", () => {
    for (const code of [Code.Internal, Code.ResourceExhausted, Code.PermissionDenied]) {
      const reset = new ConnectError("http/2 stream closed with error code INTERNAL_ERROR (0x2)", code);
      const error = toConnectError(reset, AbortSignal.abort(reset));
      expect(error.code).toBe(Code.Canceled);
      expect(error.rawMessage).toBe(`the caller gave up: ${reset.rawMessage}`);
      expect(toConnectError(reset, going)).toBe(reset);
    }
    const shutdown = new ConnectError("podrt serve is shutting down", Code.Unavailable);
    expect(toConnectError(shutdown, AbortSignal.abort(shutdown))).toBe(shutdown);
  });

  test("has a message that fits a header", () => {
    const error = toConnectError(new PodrtError("NotFound", "x".repeat(100_000)), going);
    expect(error.rawMessage.length).toBe(4096);
  });
});

test("a registry that is down is told in the words the kubelet knows, once", () => {
  const error = registryUnavailable(new UnavailableError("cannot reach registry"));
  expect(error.code).toBe(Code.Unknown);
  expect(error.rawMessage).toBe("RegistryUnavailable: cannot reach registry");
  const again = registryUnavailable(new UnavailableError(error.rawMessage));
  expect(again.rawMessage).toBe("RegistryUnavailable: cannot reach registry");
});

test("success has the code's name OK", () => {
  expect(codeName(undefined)).toBe("OK");
});
