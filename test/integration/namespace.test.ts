// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NETLINK_ROUTE } from "../../src/linux/abi/netlink.ts";
import {
  openNamespace,
  pinNamespace,
  unpinNamespace,
  withNetworkNamespace,
} from "../../src/linux/namespace.ts";
import { decodeLink, listLinks } from "../../src/linux/netlink/route.ts";
import { NetlinkSocket } from "../../src/linux/netlink/socket.ts";
import { isErrno } from "../../src/linux/syscall.ts";
import { TestPod } from "./network-harness.ts";

const current = () => readlinkSync("/proc/thread-self/ns/net");

test("work runs in the other network namespace, and the thread is home afterwards", async () => {
  await using pod = await TestPod.start();
  const home = current();
  expect(withNetworkNamespace(pod.namespace.number, current)).toBe(readlinkSync(`/proc/${pod.pid}/ns/net`));
  expect(current()).toBe(home);
});

test("a socket opened there stays there", async () => {
  await using pod = await TestPod.start();
  using socket = withNetworkNamespace(pod.namespace.number, () => new NetlinkSocket(NETLINK_ROUTE));
  expect((await socket.dump(listLinks())).map(decodeLink)).toMatchObject([{ name: "lo", isUp: false }]);
});

test("an error comes through with the thread at home", async () => {
  await using pod = await TestPod.start();
  const home = current();
  const fail = () => {
    throw new Error("no luck");
  };
  expect(() => withNetworkNamespace(pod.namespace.number, fail)).toThrow("no luck");
  expect(current()).toBe(home);
});

test("work that returns a promise is refused", async () => {
  await using pod = await TestPod.start();
  const home = current();
  expect(() => withNetworkNamespace(pod.namespace.number, async () => 1)).toThrow("must be synchronous");
  expect(current()).toBe(home);
});

test("a descriptor that is no network namespace is refused", () => {
  using namespace = openNamespace(process.pid, "uts");
  expect(() => withNetworkNamespace(namespace.number, current)).toThrow(/setns .*: EINVAL/);
});

test("a process that cannot come back dies at once", async () => {
  await using pod = await TestPod.start();
  const source = (name: string) => JSON.stringify(join(import.meta.dir, "../../src/linux", name));
  const child = Bun.spawn(
    [
      process.execPath,
      "-e",
      `import { readdirSync, readlinkSync, closeSync } from "node:fs";
       import { openNamespace, withNetworkNamespace } from ${source("namespace.ts")};
       const namespace = openNamespace(${pod.pid}, "net");
       const home = readlinkSync("/proc/self/ns/net");
       withNetworkNamespace(namespace.number, () => {
         for (const fd of readdirSync("/proc/self/fd")) {
           try { if (readlinkSync("/proc/self/fd/" + fd) === home) closeSync(Number(fd)); } catch {}
         }
       });
       console.log("went on");`,
    ],
    { stdout: "pipe", stderr: "ignore" },
  );
  expect(await new Response(child.stdout).text()).toBe("");
  await child.exited;
  expect(child.signalCode).not.toBeNull();
});

test("a pin keeps the namespace alive until it is taken away; both can be repeated", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-pin-"));
  const path = join(directory, "netns");
  try {
    const pod = await TestPod.start();
    const { ino } = statSync(`/proc/${pod.pid}/ns/net`);
    pinNamespace(pod.namespace.number, path);
    pinNamespace(pod.namespace.number, path);
    await pod.end();
    expect(statSync(path).ino).toBe(ino);
    await using other = await TestPod.start();
    expect(() => pinNamespace(other.namespace.number, path)).toThrow(
      "where another namespace is pinned: EBUSY",
    );
    unpinNamespace(path);
    unpinNamespace(path);
    expect(() => statSync(path)).toThrow("ENOENT");
  } finally {
    unpinNamespace(path);
    rmSync(directory, { recursive: true });
  }
});

test("the namespace of a process that is gone is not there", async () => {
  const pod = await TestPod.start();
  await pod.end();
  try {
    openNamespace(pod.pid, "net").close();
    expect.unreachable();
  } catch (error) {
    expect(isErrno(error, "ENOENT")).toBe(true);
  }
});
