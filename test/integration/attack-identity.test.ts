// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { ConnectError } from "@connectrpc/connect";
import { useDaemon } from "./harness/fixture.ts";
import { importHostile } from "./harness/hostile.ts";
import {
  createContainer,
  runContainer,
  runSandbox,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";

/*
 * Whoever names a user gets that user or an error: no number wraps around to root, no entry of the image's
 * makes root of a number, and files that are no files are neither read nor used.
 */

const fixture = useDaemon();
let sandboxId: string;
let counter = 0;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "identity");
});

const passwd = "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/root:/bin/sh\n4294967296:x:0:0::/root:/bin/sh\n";
const group = "root:x:0:\n1000:x:0:1000\n";
const files = [
  { name: "etc/passwd", content: passwd },
  { name: "etc/group", content: group },
];

async function imageWithUser(User: string, layer = files): Promise<string> {
  return importHostile(fixture.daemon, `identity-${counter++}`, { layers: [layer], run: { User } });
}

test.each([
  "4294967296",
  "4294967295",
  "-1",
  "00000000000",
  "0x0",
  "1e0",
  "nobody-here",
  "1000:4294967296",
  ":-1",
])("USER %p of an image is refused, and is no uid to a kubelet", async (user) => {
  const { daemon } = fixture;
  const image = await imageWithUser(user);
  const attempt = createContainer(daemon, sandboxId, { name: `user-${counter++}`, image: { image } });
  await expect(attempt).rejects.toThrow(/(user|group) ".*" is neither/);
  const known = (await daemon.api.imageStatus({ image: { image } })).image!;
  const [name = ""] = user.split(":");
  if (name === "1000") expect(known.uid?.value).toBe(1000n);
  else expect([known.uid, known.username]).toEqual([undefined, name]);
});

test.each([
  ["1000", "1000 0"],
  ["1000:1000", "1000 1000"],
  ["2147483648:2147483648", "2147483648 2147483648"],
  ["4294967294", "4294967294 0"],
])("USER %p is that uid, though the image has an entry of that name that is root", async (user, ids) => {
  const { daemon } = fixture;
  const image = await imageWithUser(user);
  const id = await runContainer(daemon, sandboxId, { name: `uid-${counter++}`, image: { image } });
  expect(await shellIn(daemon, id, "echo $(id -u) $(id -g)")).toBe(ids);
  const uid = BigInt(user.split(":")[0]!);
  expect((await daemon.api.imageStatus({ image: { image } })).image!.uid?.value).toBe(uid);
});

test.each<[string, SecurityContext]>([
  ["run_as_user", { runAsUser: { value: 2n ** 32n } }],
  ["run_as_user", { runAsUser: { value: 2n ** 32n - 1n } }],
  ["run_as_user", { runAsUser: { value: -1n } }],
  ["run_as_group", { runAsUser: { value: 1n }, runAsGroup: { value: 2n ** 32n } }],
  ["supplemental_groups", { supplementalGroups: [2n ** 32n] }],
  ["supplemental_groups", { supplementalGroups: [-1n] }],
])("an id that a request lets overflow is refused: %s", async (field, context) => {
  const attempt = createContainer(fixture.daemon, sandboxId, { name: "overflow", ...secured(context) });
  await expect(attempt).rejects.toThrow(field);
});

test("a name that is all digits is a uid in a request too", async () => {
  const { daemon } = fixture;
  const image = await imageWithUser("");
  const config = { image: { image }, ...secured({ runAsUsername: "1000" }) };
  const id = await runContainer(daemon, sandboxId, { name: "digits", ...config });
  expect(await shellIn(daemon, id, "id -u")).toBe("1000");
  const refused = createContainer(daemon, sandboxId, {
    name: "big-digits",
    image: { image },
    ...secured({ runAsUsername: "4294967296" }),
  });
  await expect(refused).rejects.toBeInstanceOf(ConnectError);
});

test("without /etc/passwd a number is that number, in no group, and a name is refused", async () => {
  const { daemon } = fixture;
  const gone = [{ name: "etc/.wh.passwd" }, { name: "etc/.wh.group" }];
  const image = await importHostile(daemon, "no-passwd", { layers: [gone], run: { User: "33" } });
  const id = await runContainer(daemon, sandboxId, { name: "no-passwd", image: { image } });
  expect(await shellIn(daemon, id, "echo $(id -u) $(id -G)")).toBe("33 0");
  const name = await importHostile(daemon, "no-passwd-name", { layers: [gone], run: { User: "www-data" } });
  const attempt = createContainer(daemon, sandboxId, { name: "no-name", image: { image: name } });
  await expect(attempt).rejects.toThrow('user "www-data" is neither a uid nor in the image\'s /etc/passwd');
});

// To open a device is to use it: a watchdog restarts the machine. This one has no driver, so that opening fails.
const device = { type: "3", deviceMajor: 253, deviceMinor: 0xffff };
test.each([
  [
    "a device",
    [
      { name: "etc/passwd", ...device },
      { name: "etc/group", ...device },
    ],
  ],
  [
    "a pipe",
    [
      { name: "etc/passwd", type: "6" },
      { name: "etc/group", type: "6" },
    ],
  ],
  ["a directory", [{ name: "etc/passwd/x" }, { name: "etc/group/x" }]],
  [
    "a link out of the image",
    [{ name: "etc/passwd", type: "2", linkName: "../../../../../../proc/1/status" }],
  ],
  ["a link round", [{ name: "etc/passwd", type: "2", linkName: "passwd" }]],
  ["a link through a process", [{ name: "etc/passwd", type: "2", linkName: "/proc/self/root/etc/passwd" }]],
])("an /etc/passwd that is %s is as good as none, and is not opened", async (what, entries) => {
  const { daemon } = fixture;
  const clean = [{ name: "etc/.wh.passwd" }, { name: "etc/.wh.group" }];
  const name = `passwd-${counter++}`;
  const image = await importHostile(daemon, name, { layers: [clean, entries], run: { User: "77" } });
  const id = await runContainer(daemon, sandboxId, { name, image: { image } });
  expect(await shellIn(daemon, id, "grep ^Uid /proc/self/status")).toBe("Uid:\t77\t77\t77\t77");
  const named = await importHostile(daemon, `${name}-named`, {
    layers: [clean, entries],
    run: { User: "root" },
  });
  const attempt = createContainer(daemon, sandboxId, { name: `${name}-named`, image: { image: named } });
  await expect(attempt, what).rejects.toThrow('user "root" is neither');
});
