// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import {
  ALL_DEVICES,
  DEFAULT_DEVICE_RULES,
  type DeviceRule,
  devicePolicy,
  deviceText,
} from "./device-rules.ts";

const rule = (
  allow: boolean,
  type: "a" | "b" | "c",
  major: number,
  minor: number,
  access: string,
): DeviceRule => ({
  allow,
  type,
  major,
  minor,
  access,
});
const lists = (rules: DeviceRule[]) => devicePolicy(rules).exceptions.map(deviceText);

test("the default rules deny all but the harmless devices", () => {
  const policy = devicePolicy(DEFAULT_DEVICE_RULES);
  expect(policy.allowsByDefault).toBe(false);
  expect(policy.exceptions.map(deviceText)).toEqual([
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
  ]);
});

test("a list of rules begins with nothing allowed", () => {
  expect(devicePolicy([])).toEqual({ allowsByDefault: false, exceptions: [] });
  expect(devicePolicy(ALL_DEVICES)).toEqual({ allowsByDefault: true, exceptions: [] });
});

test("a rule for all devices forgets what came before", () => {
  const all = rule(false, "a", -1, -1, "rwm");
  expect(lists([rule(true, "c", 1, 3, "rw"), all, rule(true, "b", 8, 0, "r")])).toEqual(["b 8:0 r"]);
});

test("rules about the same devices add up and take away", () => {
  expect(lists([rule(true, "c", 1, 3, "r"), rule(true, "c", 1, 3, "wr")])).toEqual(["c 1:3 rw"]);
  expect(lists([rule(true, "c", 1, 3, "rwm"), rule(false, "c", 1, 3, "m")])).toEqual(["c 1:3 rw"]);
  expect(lists([rule(true, "c", 1, 3, "r"), rule(false, "c", 1, 3, "r")])).toEqual([]);
});

test("a wide rule takes back from narrow ones", () => {
  const rules = [rule(true, "c", 1, 3, "rwm"), rule(true, "b", 1, 3, "rwm"), rule(false, "c", -1, -1, "m")];
  expect(lists(rules)).toEqual(["c 1:3 rw", "b 1:3 rwm"]);
});

test("a hole in a wider rule is refused with the rule's place", () => {
  const rules = [rule(true, "c", 1, -1, "rwm"), rule(false, "c", 1, 3, "w")];
  expect(() => devicePolicy(rules)).toThrow(/^devices\[1\]: takes away part of what an earlier, wider rule/);
  expect(lists([rule(true, "c", 1, -1, "r"), rule(false, "c", 1, 3, "w")])).toEqual(["c 1:* r"]);
});

test("a malformed rule is refused with the field's path", () => {
  expect(() => devicePolicy([rule(true, "c", -2, 0, "r")])).toThrow("devices[0].major");
  expect(() => devicePolicy([rule(true, "c", 0, 2 ** 32, "r")])).toThrow("devices[0].minor");
  expect(() => devicePolicy([rule(true, "c", 0, 0, "rx")])).toThrow("devices[0].access");
  expect(() => devicePolicy([rule(true, "a", 1, -1, "rwm")])).toThrow("devices[0]");
});
