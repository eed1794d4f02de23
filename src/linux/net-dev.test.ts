// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { interfacesOf, parseNetDev } from "./net-dev.ts";
import { identify } from "./process.ts";
import { ProcessDirectory } from "./process-directory.ts";

const HEADINGS =
  "Inter-|   Receive                                                |  Transmit\n" +
  " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

test("each interface has its counters, however large", () => {
  const text = `${HEADINGS}    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:18446744073709551615 2    3    4    5     6          7         8     9      10   11   12   13    14      15         16\n`;
  expect(parseNetDev(text)).toEqual([
    expect.objectContaining({ name: "lo", receivedBytes: 100n, sentBytes: 100n }),
    {
      name: "eth0",
      receivedBytes: 18_446_744_073_709_551_615n,
      receivedPackets: 2n,
      receiveErrors: 3n,
      receiveDrops: 4n,
      sentBytes: 9n,
      sentPackets: 10n,
      sendErrors: 11n,
      sendDrops: 12n,
    },
  ]);
});

test("a name that comes again, a cut line and other text are left out", () => {
  const line = (name: string, first: number) => `${name}: ${first}${" 0".repeat(15)}\n`;
  const text = `${HEADINGS}${line("a", 1)}${line("a", 2)}no numbers\n${line("b", 3)}c: 1 2 3`;
  expect(parseNetDev(text).map(({ name, receivedBytes }) => [name, receivedBytes])).toEqual([
    ["a", 1n],
    ["b", 3n],
  ]);
  expect(parseNetDev("")).toEqual([]);
});

test("a process has those of its namespace, until it has ended", async () => {
  const child = Bun.spawn(["cat"], { stdin: "pipe" });
  const directory = ProcessDirectory.open(identify(child.pid)!)!;
  expect(interfacesOf(directory)?.map(({ name }) => name)).toContain("lo");
  child.stdin.end();
  await child.exited;
  expect(interfacesOf(directory)).toBeUndefined();
  directory.close();
});
