// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseBytes, parseMilliCpu } from "./quantity.ts";

test.each([
  ["1", 1000],
  ["0.1", 100],
  ["100m", 100],
  ["0.0001", 1],
  ["1.5", 1500],
  ["2e3", 2_000_000],
])("%s of CPU is %d thousandths", (text, milli) => {
  expect(parseMilliCpu(text)).toBe(milli);
});

test.each([
  ["128Mi", 134_217_728],
  ["1.5Gi", 1_610_612_736],
  ["1G", 1_000_000_000],
  ["64k", 64_000],
  ["12", 12],
  ["1e3", 1000],
  ["500m", 1],
])("%s is %d bytes", (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

test.each(["", "1GB", "-1", "1 Gi", "Gi", "1e", "0x10", "1.2.3", "9999Ei", "NaN"])(
  "%p is no amount",
  (text) => {
    expect(parseBytes(text)).toBeUndefined();
  },
);
