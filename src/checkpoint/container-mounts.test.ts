// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { isExternal, parseMount } from "./container-mounts.ts";

test("a line of mountinfo is taken apart, whatever optional fields it has, with its names as they are", () => {
  expect(
    parseMount("225 224 254:0 /a\\040b /mnt/tab\\011\\134 ro,nosuid shared:1 master:2 - ext4 /dev/vda rw"),
  ).toEqual({
    device: "254:0",
    root: "/a b",
    mountPoint: "/mnt/tab\t\\",
    options: ["ro", "nosuid"],
    type: "ext4",
  });
  expect(parseMount("1 0 0:105 / / rw - overlay none rw").type).toBe("overlay");
});

test("all is external but the root, what is mounted from it, and /proc", () => {
  const root = parseMount("1 0 0:105 / / rw - overlay none rw");
  const lines = [
    "2 1 0:105 /data /data rw - overlay none rw",
    "3 1 0:107 / /proc rw - proc none rw",
    "4 1 254:0 /hosts /etc/hosts rw - ext4 /dev/vda rw",
    "5 1 0:108 / /dev rw - tmpfs none rw",
  ];
  const external = lines.map(parseMount).filter((mount) => isExternal(mount, root));
  expect(external.map(({ mountPoint }) => mountPoint)).toEqual(["/etc/hosts", "/dev"]);
});
