// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../../errors.ts";

/** One line of a container's device list, as in the OCI runtime specification. */
export interface DeviceRule {
  readonly allow: boolean;
  /** Character, block, or `a`: every device, whatever the rest of the rule says. */
  readonly type: "a" | "b" | "c";
  /** -1 for every number. */
  readonly major: number;
  readonly minor: number;
  /** Letters of `rwm`: read, write, mknod. */
  readonly access: string;
}

/** What a list of rules comes to: one answer for all devices, and those that get the other. */
export interface DevicePolicy {
  readonly allowsByDefault: boolean;
  readonly exceptions: readonly DeviceException[];
}

export type DeviceException = Omit<DeviceRule, "allow" | "type"> & { readonly type: "b" | "c" };

const READ_WRITE_MAKE = "rwm";
const ANY = -1;

function allow(type: "b" | "c", major: number, minor: number, access = READ_WRITE_MAKE): DeviceRule {
  return { allow: true, type, major, minor, access };
}

/** What every container may use: nodes of any device can be made, but only the harmless ones opened. */
export const DEFAULT_DEVICE_RULES: readonly DeviceRule[] = [
  { allow: false, type: "a", major: ANY, minor: ANY, access: READ_WRITE_MAKE },
  allow("c", ANY, ANY, "m"),
  allow("b", ANY, ANY, "m"),
  allow("c", 1, 3), // null
  allow("c", 1, 5), // zero
  allow("c", 1, 7), // full
  allow("c", 1, 8), // random
  allow("c", 1, 9), // urandom
  allow("c", 5, 0), // tty
  allow("c", 5, 1), // console
  allow("c", 5, 2), // ptmx
  allow("c", 136, ANY), // pts/*
];

/** For a privileged container: no restriction. */
export const ALL_DEVICES: readonly DeviceRule[] = [
  { allow: true, type: "a", major: ANY, minor: ANY, access: READ_WRITE_MAKE },
];

/**
 * Settles a list of rules, later ones over earlier ones, beginning with nothing allowed. A rule that
 * takes part of what a wider one gave has no form in cgroup v1, so it is refused everywhere.
 */
export function devicePolicy(rules: readonly DeviceRule[]): DevicePolicy {
  let allowsByDefault = false;
  const exceptions = new Map<string, DeviceException>();
  rules.forEach((rule, index) => {
    const field = `devices[${index}]`;
    const access = accessOf(rule, field);
    if (rule.type === "a") {
      if (rule.major !== ANY || rule.minor !== ANY || access !== READ_WRITE_MAKE) {
        throw new InvalidArgumentError(
          field,
          "type a stands for every device and every access, nothing less",
        );
      }
      allowsByDefault = rule.allow;
      exceptions.clear();
      return;
    }
    if (rule.allow !== allowsByDefault) except(exceptions, { ...rule, type: rule.type, access });
    else restore(exceptions, { ...rule, type: rule.type, access }, field);
  });
  return { allowsByDefault, exceptions: [...exceptions.values()] };
}

type Exceptions = Map<string, DeviceException>;

function except(exceptions: Exceptions, { type, major, minor, access }: DeviceException): void {
  const key = deviceKey(type, major, minor);
  exceptions.set(key, { type, major, minor, access: merged(access, exceptions.get(key)?.access ?? "") });
}

/** The devices of `rule` get the default answer again. */
function restore(exceptions: Exceptions, rule: DeviceException, field: string): void {
  for (const [key, other] of exceptions) {
    if (rule.type !== other.type) continue;
    const left = [...other.access].filter((letter) => !rule.access.includes(letter)).join("");
    const isAbout = (number: number, otherNumber: number) => number === ANY || number === otherNumber;
    const meets = (number: number, otherNumber: number) =>
      isAbout(number, otherNumber) || otherNumber === ANY;
    if (left === other.access || !meets(rule.major, other.major) || !meets(rule.minor, other.minor)) continue;
    if (!isAbout(rule.major, other.major) || !isAbout(rule.minor, other.minor)) {
      throw new InvalidArgumentError(
        field,
        "takes away part of what an earlier, wider rule says of its devices",
      );
    }
    if (left === "") exceptions.delete(key);
    else exceptions.set(key, { ...other, access: left });
  }
}

/** `c 1:3 rwm`, as the files of cgroup v1 have it. */
export function deviceText({ type, major, minor, access }: DeviceException): string {
  return `${deviceKey(type, major, minor)} ${access}`;
}

function deviceKey(type: string, major: number, minor: number): string {
  const number = (value: number) => (value === ANY ? "*" : value);
  return `${type} ${number(major)}:${number(minor)}`;
}

function accessOf(rule: DeviceRule, field: string): string {
  const isNumber = (value: number) => Number.isSafeInteger(value) && value >= ANY && value < 2 ** 32;
  if (!isNumber(rule.major))
    throw new InvalidArgumentError(`${field}.major`, "must be -1 or a device number");
  if (!isNumber(rule.minor))
    throw new InvalidArgumentError(`${field}.minor`, "must be -1 or a device number");
  if (!/^[rwm]{1,3}$/.test(rule.access)) {
    throw new InvalidArgumentError(`${field}.access`, `must be made of r, w and m, but is "${rule.access}"`);
  }
  return merged(rule.access, "");
}

function merged(one: string, other: string): string {
  return [...READ_WRITE_MAKE].filter((letter) => one.includes(letter) || other.includes(letter)).join("");
}
