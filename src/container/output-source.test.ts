// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ERRNO } from "../linux/abi/errno.ts";
import { pipe, setNonBlocking, writeAll } from "../linux/fd.ts";
import { replaceKernel } from "../linux/syscall.ts";
import { openContainerLog } from "./log.ts";

test("an output whose end cannot be written at once is written a moment later, and then it has ended", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-output-"));
  const path = join(directory, "0.log");
  const log = openContainerLog(path);
  const { read, write } = pipe();
  setNonBlocking(read.number, true);
  const { promise: isHeard, resolve: hear } = Promise.withResolvers<void>();
  log.subscribe(() => hear());
  const source = log.attach("stdout", read.number);
  writeAll(write.number, Buffer.from("whole\nthe rest"));
  await isHeard;
  let failures = 0;
  const restore = replaceKernel((real) => ({
    call: (call, args) => (call === "tee" && failures++ === 0 ? -ERRNO.ENOMEM : real.call(call, args)),
  }));
  try {
    write.close();
    await source.done;
    expect(failures).toBeGreaterThan(1);
    expect(readFileSync(path, "utf8")).toMatch(/ stdout F whole\n.* stdout P the rest\n$/);
  } finally {
    restore();
    await log.close();
    read.close();
    rmSync(directory, { recursive: true });
  }
});
