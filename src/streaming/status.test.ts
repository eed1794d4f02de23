// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { NotFoundError } from "../errors.ts";
import { encodeStatus, exitStatus, failureStatus, SUCCESS } from "./status.ts";

const textOf = (...status: Parameters<typeof encodeStatus>) =>
  new TextDecoder().decode(encodeStatus(...status));

test("success is an object for clients that expect one, and nothing for others", () => {
  expect(textOf(SUCCESS, true)).toBe('{"metadata":{},"status":"Success"}');
  expect(textOf(exitStatus(0), true)).toBe('{"metadata":{},"status":"Success"}');
  expect(textOf(SUCCESS, false)).toBe("");
});

test("an exit code is where clients look for it", () => {
  expect(JSON.parse(textOf(exitStatus(3), true))).toEqual({
    metadata: {},
    status: "Failure",
    message: "command terminated with non-zero exit code: exit status 3",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "3" }] },
  });
  expect(textOf(exitStatus(137), false)).toBe("command terminated with non-zero exit code: exit status 137");
});

test("any other trouble is an internal error with its sentence", () => {
  const status = failureStatus(new NotFoundError("container x does not exist"));
  expect(JSON.parse(textOf(status, true))).toEqual({
    metadata: {},
    status: "Failure",
    message: "container x does not exist",
    reason: "InternalError",
    code: 500,
  });
  expect(textOf(status, false)).toBe("container x does not exist");
});
