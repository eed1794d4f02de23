// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { deviceName, deviceOf } from "./filesystem.ts";

/** Source and number of the file system mounted on `path`, as the kernel lists it. */
function mountedOn(path: string): { number: string; source: string } {
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .findLast((candidate) => candidate.split(" ")[4] === path);
  const fields = line?.split(" ") ?? [];
  return { number: fields[2] ?? "", source: fields[fields.indexOf("-") + 2] ?? "" };
}

test("a file on a disk is on its device", () => {
  const { number, source } = mountedOn("/");
  // A root on no device (an overlay in a container) has the number only; names of volumes are links.
  expect(deviceOf("/")).toBe(existsSync(source) ? realpathSync(source) : deviceName(number));
});

test("a file on no device is on the number of its file system", () => {
  expect(deviceOf("/proc/self/stat")).toBe(mountedOn("/proc").number);
});

test("a number is named as the kernel names it, or stays as it is", () => {
  expect(deviceName("999999:0")).toBe("999999:0");
  for (const number of readdirSync("/sys/dev/block")) {
    const disk = readlinkSync(`/sys/dev/block/${number}`).split("/").at(-1);
    expect(deviceName(number)).toBe(`/dev/${disk}`);
  }
});
