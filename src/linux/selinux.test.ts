// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatContext, openSelinux, parseContext } from "./selinux.ts";

const dir = mkdtempSync(join(tmpdir(), "podrt-selinux-"));
const files = { enforce: join(dir, "enforce"), context: join(dir, "context"), etc: join(dir, "etc") };
afterAll(() => rmSync(dir, { recursive: true }));

const STANDARD = "system_u:system_r:container_t:s0";
const STANDARD_FILE = "system_u:object_r:container_file_t:s0";

test("a context has four parts, of which the last keeps its colons", () => {
  const text = "system_u:system_r:container_t:s0:c1,c2-s0:c3";
  const context = parseContext(text)!;
  expect(context).toEqual({
    user: "system_u",
    role: "system_r",
    type: "container_t",
    level: "s0:c1,c2-s0:c3",
  });
  expect(formatContext(context)).toBe(text);
  for (const broken of ["", "a:b:c", "a:b:c:", ":b:c:d"]) expect(parseContext(broken)).toBeUndefined();
});

test("SELinux is off where its file system is not mounted, and then nothing is accepted", () => {
  const selinux = openSelinux(files);
  expect(selinux.isEnabled).toBe(false);
  writeFileSync(files.context, "");
  expect(selinux.accepts(STANDARD)).toBe(false);
});

test("the kernel is asked about a context by a write", () => {
  writeFileSync(files.enforce, "1");
  const selinux = openSelinux(files);
  expect(selinux.isEnabled).toBe(true);
  expect(selinux.accepts(STANDARD)).toBe(true);
  expect(readFileSync(files.context, "utf8")).toBe(`${STANDARD}\0`);
  expect(openSelinux({ ...files, context: dir }).accepts(STANDARD)).toBe(false);
});

test("what containers are is the policy's word, and otherwise the usual", () => {
  const usual = openSelinux(files);
  expect([formatContext(usual.process), formatContext(usual.file)]).toEqual([STANDARD, STANDARD_FILE]);
  mkdirSync(join(files.etc, "strict/contexts"), { recursive: true });
  writeFileSync(join(files.etc, "config"), "# comment\nSELINUX=enforcing\nSELINUXTYPE=strict\n");
  writeFileSync(
    join(files.etc, "strict/contexts/lxc_contexts"),
    'process = "u_u:r_r:jail_t:s0"\nsandbox_lxc_process = "x"\nfile = "no context"\n',
  );
  const own = openSelinux(files);
  expect(formatContext(own.process)).toBe("u_u:r_r:jail_t:s0");
  expect(formatContext(own.file)).toBe(STANDARD_FILE);
});
