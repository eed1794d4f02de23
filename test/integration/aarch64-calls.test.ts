// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import { projectDir } from "../fixtures/images/packages.ts";
import { emulatorOf } from "../support/emulator.ts";
import { patience } from "../support/patience.ts";
import { outputOf, runCommand } from "./harness/command.ts";

setDefaultTimeout(600_000 * patience);

/** Unit tests that make system calls which the emulation has; openat2, mount and clone3 are not among them. */
const FILES = [
  "src/linux/poll.test.ts",
  "src/linux/epoll.test.ts",
  "src/linux/process.test.ts",
  "src/linux/inode-flags.test.ts",
  "src/linux/tcp.test.ts",
  "src/linux/tree-summary.test.ts",
  "src/linux/netlink/message.test.ts",
  "src/linux/seccomp/filters.test.ts",
  "src/launch/program.test.ts",
  "src/launch/program-listing.test.ts",
  "src/container/output-source.test.ts",
];

const emulator = emulatorOf("aarch64");

// Where no program of aarch64 runs; emulatorOf says why.
test.skipIf(emulator === undefined)(
  "system calls are made and their structures read on aarch64 as on x86-64",
  async () => {
    const fetched = await outputOf(process.execPath, ["scripts/fetch-bun.ts", "aarch64"], {
      cwd: projectDir,
      timeoutMs: 300_000,
    });
    const [command, ...words] = [
      ...(emulator ?? []),
      fetched.trim(),
      "test",
      "--timeout",
      "120000",
      ...FILES,
    ];
    const { code, stderr } = await runCommand(command!, words, { cwd: projectDir, timeoutMs: 500_000 });
    expect([code, stderr]).toEqual([0, expect.stringContaining(`across ${FILES.length} files`)]);
  },
);
