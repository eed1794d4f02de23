// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { criuError, runCriu } from "./criu-run.ts";

function inDirectory<T>(work: (dir: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), "prt-criu-run-"));
  const remove = () => rmSync(dir, { recursive: true, force: true });
  const result = work(dir);
  if (result instanceof Promise) return result.finally(remove) as T;
  remove();
  return result;
}

test("of a log the first error counts, without control characters and not too long", () => {
  inDirectory((dir) => {
    const log = join(dir, "log");
    const lines = [
      "(00.01) Warn  (criu/x.c:1): never mind",
      "(00.02) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted",
      `(00.03) 1: Error (criu/files.c:2): a name \u001b[31m ${"x".repeat(1000)}`,
      "(00.04) Error (criu/cr-dump.c:3): Dumping FAILED.",
    ];
    writeFileSync(log, lines.join("\n"));
    const error = criuError(join(dir, "missing"), log);
    expect(error).toStartWith("(criu/files.c:2): a name ?[31m xxx");
    expect(error.length).toBeLessThan(310);
  });
});

// The daemon's engine starts what it is given, and writes no limit that only root may.
test.skipIf(process.geteuid?.() !== 0)(
  "a run that is given up fails at its next write and can put things right",
  async () => {
    await inDirectory(async (workDir) => {
      const program = join(workDir, "criu");
      const script =
        "while echo x >>log 2>/dev/null; do sleep 0.02; done; exec 2>/dev/null; sleep 0.1; rm -f log; exit 1";
      writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      const signal = AbortSignal.timeout(200);
      const run = runCriu({ program, arguments: [], workDir, join: [], signal });
      expect(await run.catch((error: Error) => error.name)).toBe("TimeoutError");
      expect(await Bun.file(join(workDir, "log")).exists()).toBe(false);
    });
  },
);
