// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import { imageVolume } from "./image-volume.ts";
import { inMountOrder, isBindOption } from "./mounts.ts";

const at = (destination: string): RuntimeMount => ({ destination, type: "bind", source: "/", options: [] });

function order(...destinations: readonly string[]): string[] {
  return inMountOrder(destinations.map(at)).map(({ destination }) => destination);
}

test("parents come before children, others as they were given", () => {
  expect(order("/b/c", "/a", "/b", "/a/b/c", "/a/b")).toEqual(["/a", "/b", "/b/c", "/a/b", "/a/b/c"]);
});

test("/proc comes after everything that a link could put in its place, and what is in it after that", () => {
  expect(order("/proc/uptime", "/proc", "/a/b/c", "/process", "/dev")).toEqual([
    "/process",
    "/dev",
    "/a/b/c",
    "/proc",
    "/proc/uptime",
  ]);
});

test("in any order of the request no mount covers one that came before it", () => {
  const part = fc.constantFrom("a", "b", "proc", "dev");
  const destination = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
  fc.assert(
    fc.property(fc.uniqueArray(destination, { maxLength: 12 }), (destinations) => {
      const ordered = order(...destinations);
      expect([...ordered].sort()).toEqual([...destinations].sort());
      for (const [index, path] of ordered.entries()) {
        const covered = ordered.slice(0, index).filter((earlier) => earlier.startsWith(`${path}/`));
        expect(covered).toEqual([]);
      }
    }),
  );
});

test("options of a bind are those that are honoured", () => {
  for (const option of [
    "ro",
    "rro",
    "rw",
    "nodev",
    "noexec",
    "nosuid",
    "bind",
    "rbind",
    "rslave",
    "shared",
  ]) {
    expect(isBindOption(option)).toBe(true);
  }
  for (const option of ["size=1m", "remount", "toString", "constructor", ""]) {
    expect([option, isBindOption(option)]).toEqual([option, false]);
  }
});

test("an image volume is what its options say", () => {
  const options = ["ro", "noexec", "lowerdir+=/layers/2", "lowerdir+=/layers/1:x", "x-podrt.sub-path=a,b=c"];
  expect(imageVolume({ ...at("/v"), type: "overlay", options })).toEqual({
    lowerDirs: ["/layers/2", "/layers/1:x"],
    subPath: "a,b=c",
    attributes: 1 | 8,
  });
});
