// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { identify } from "./process.ts";
import { ProcessDirectory } from "./process-directory.ts";
import { parseLimits, softLimitsOf } from "./process-limits.ts";

test("limits are named after their lines, and unlimited ones left out", () => {
  const text = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            20000                30000                files     
Max address space         18446744073709551614 unlimited            bytes     
Max nice priority         0                    0                    
`;
  expect(parseLimits(text)).toEqual([
    { name: "max_open_files", value: 20_000n },
    { name: "max_address_space", value: 18_446_744_073_709_551_614n },
    { name: "max_nice_priority", value: 0n },
  ]);
});

test("limits are those of the very process that was named, until it has ended", async () => {
  const child = Bun.spawn(["cat"], { stdin: "pipe" });
  const identity = identify(child.pid)!;
  const directory = ProcessDirectory.open(identity)!;
  expect(softLimitsOf(directory).map(({ name }) => name)).toContain("max_open_files");
  expect(ProcessDirectory.open({ ...identity, startTicks: "1" })).toBeUndefined();
  expect(ProcessDirectory.open({ pid: 2 ** 22 + 1, startTicks: "1" })).toBeUndefined();
  child.stdin.end();
  await child.exited;
  expect(softLimitsOf(directory)).toEqual([]);
  directory.close();
});
