// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { isAllowedXattr } from "./xattr.ts";

test("a layer may set file capabilities, user attributes and access lists, nothing that steers the kernel", () => {
  const allowed = [
    "security.capability",
    "user.mime",
    "user.a.b",
    "system.posix_acl_access",
    "system.posix_acl_default",
  ];
  const refused = [
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
    "trusted.overlay.metacopy",
    "user.overlay.opaque",
    "user.",
    "trusted.x",
    "security.selinux",
    "security.ima",
    "security.evm",
    "system.other",
    "nonsense",
    "",
  ];
  expect(allowed.filter((name) => !isAllowedXattr(name))).toEqual([]);
  expect(refused.filter(isAllowedXattr)).toEqual([]);
});
