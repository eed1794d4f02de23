// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import { SIGRTMAX, signalName, signalNumber } from "./signal.ts";

test("a signal is found by full name, short name, any case and number", () => {
  for (const text of ["SIGTERM", "TERM", "sigterm", "Term", "15"]) expect(signalNumber(text)).toBe(15);
});

test("real-time signals count from user space's SIGRTMIN and down from SIGRTMAX", () => {
  expect(signalNumber("RTMIN+3")).toBe(37);
  expect(signalNumber("SIGRTMIN")).toBe(34);
  expect(signalNumber("rtmax-1")).toBe(63);
  expect(signalNumber("RTMIN+30")).toBe(64);
});

test("what is no signal has no number", () => {
  for (const text of [
    "",
    "SIG",
    "0",
    "65",
    "999",
    "-9",
    "9 ",
    "TERMINATE",
    "RTMIN+31",
    "RTMAX-31",
    "RTMIN-1",
  ]) {
    expect(signalNumber(text)).toBeUndefined();
  }
});

test("aliases of older systems are known", () => {
  expect(signalNumber("IOT")).toBe(6);
  expect(signalNumber("CLD")).toBe(17);
  expect(signalNumber("POLL")).toBe(29);
});

test("every name leads back to its number", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: SIGRTMAX }), (signo) => {
      const name = signalName(signo);
      expect(signalNumber(name)).toBe(signo === 32 || signo === 33 ? undefined : signo);
    }),
  );
  expect(signalName(99)).toBe("signal 99");
});
