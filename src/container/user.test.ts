// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import {
  parseGroup,
  parseId,
  parsePasswd,
  resolveUser,
  type UserDatabase,
  type UserRequest,
} from "./user.ts";

const database: UserDatabase = {
  users: parsePasswd(
    "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\ndefault-user:x:1000:1000::/home/d:/bin/sh\n",
  ),
  groups: parseGroup("root:x:0:\nwww-data:x:33:\nextra:x:50000:default-user,root\n"),
};

function resolve(request: Partial<UserRequest>) {
  return resolveUser(
    { supplementalGroups: [], mergesImageGroups: true, imageUser: "", ...request },
    database,
  );
}

test.each([
  ["nobody is named: root", {}, { uid: 0, gid: 0, groups: [0, 50000] }],
  ["the image names a uid", { imageUser: "1002" }, { uid: 1002, gid: 0, groups: [0] }],
  ["the image names a user", { imageUser: "www-data" }, { uid: 33, gid: 33, groups: [33] }],
  ["the image names uid and gid", { imageUser: "1003:1004" }, { uid: 1003, gid: 1004, groups: [1004] }],
  [
    "the image names user and group",
    { imageUser: "www-data:extra" },
    { uid: 33, gid: 50000, groups: [50000] },
  ],
  [
    "a uid is asked for",
    { runAsUser: 1000, imageUser: "www-data" },
    { uid: 1000, gid: 1000, groups: [1000, 50000] },
  ],
  ["a name is asked for", { runAsUsername: "default-user" }, { uid: 1000, gid: 1000, groups: [1000, 50000] }],
  ["a group is asked for", { runAsUser: 5, runAsGroup: 6 }, { uid: 5, gid: 6, groups: [6] }],
  [
    "groups are merged with the image's",
    { runAsUser: 1000, supplementalGroups: [1234] },
    { uid: 1000, gid: 1000, groups: [1000, 1234, 50000] },
  ],
  [
    "groups are exactly those asked for under Strict",
    { runAsUser: 1000, supplementalGroups: [1234], mergesImageGroups: false },
    { uid: 1000, gid: 1000, groups: [1000, 1234] },
  ],
] as const)("%s", (_, request, expected) => {
  expect(resolve(request)).toMatchObject(expected);
});

test("digits are an id, though the image has an entry that is called so", () => {
  const users = parsePasswd("1000:x:0:0::/root:/bin/sh\n4294967296:x:0:0::/root:/bin/sh\n");
  const groups = parseGroup("1000:x:0:\n");
  const request = { supplementalGroups: [], mergesImageGroups: true };
  for (const who of [
    { imageUser: "1000:1000" },
    { imageUser: "", runAsUsername: "1000", runAsGroup: 1000 },
  ]) {
    expect(resolveUser({ ...request, ...who }, { users, groups })).toMatchObject({ uid: 1000, gid: 1000 });
  }
  expect(() => resolveUser({ ...request, imageUser: "4294967296" }, { users, groups })).toThrow(
    "neither a uid",
  );
});

test("an unknown name is refused by its name", () => {
  expect(() => resolve({ runAsUsername: "nobody-here" })).toThrow('user "nobody-here" is neither a uid');
  expect(() => resolve({ imageUser: "root:none" })).toThrow('group "none" is neither a gid');
});

describe("an id", () => {
  test.each(["4294967295", "4294967296", "18446744073709551616", "-1", "1e3", "0x10", " 1", ""])(
    "%p is none, so that nothing wraps around to root",
    (text) => expect(parseId(text)).toBeUndefined(),
  );
  test("goes up to 2^32-2", () => expect(parseId("4294967294")).toBe(4294967294));
});

test("lines that are no entries are passed over", () => {
  expect(parsePasswd("# comment\n+::::::\nx:x:99999999999:0::/:\nok:x:1:2::/h:/s")).toEqual([
    { name: "ok", uid: 1, gid: 2, home: "/h" },
  ]);
});

test("a home with control characters, which would smuggle lines into files, is not used", () => {
  const users = [{ name: "e", uid: 7, gid: 7, home: "/a\u0007b" }];
  expect(
    resolveUser(
      { runAsUser: 7, supplementalGroups: [], mergesImageGroups: true, imageUser: "" },
      { users, groups: [] },
    ).home,
  ).toBe("/");
});
