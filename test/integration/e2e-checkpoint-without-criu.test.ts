// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { useDaemon } from "./harness/fixture.ts";
import { runContainer, runSandbox } from "./harness/pods.ts";

const dir = mkdtempSync(join(tmpdir(), "prt-criu-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const program = join(dir, "criu");
const fixture = useDaemon({ config: `[checkpoint]\ncriu = ${JSON.stringify(program)}\n` });

test("without a criu that works, a checkpoint is refused with the reason, and nothing is made", async () => {
  const { daemon } = fixture;
  const sandbox = await runSandbox(daemon, "no-criu");
  const containerId = await runContainer(daemon, sandbox, { name: "app" });
  const location = join(dir, "x.tar");
  const refusal = async () => {
    const error = await daemon.api.checkpointContainer({ containerId, location }).catch(ConnectError.from);
    if (!(error instanceof ConnectError)) throw new Error("it succeeded");
    expect(existsSync(location)).toBe(false);
    return [Code[error.code], error.rawMessage];
  };
  expect(await refusal()).toEqual([
    "FailedPrecondition",
    `containers are checkpointed and restored by criu, and checkpoint.criu is ${program}, where no executable file is: install it there`,
  ]);
  writeFileSync(program, "#!/bin/sh\necho 'Error (criu/kerndat.c:1): the kernel is too new' >&2; exit 1\n");
  expect((await refusal())[1]).toContain("where no executable file is");
  chmodSync(program, 0o755);
  const unusable = `${program}, which checkpoints and restores containers, cannot be used`;
  expect(await refusal()).toEqual([
    "FailedPrecondition",
    `${unusable}: criu check says: (criu/kerndat.c:1): the kernel is too new`,
  ]);
  writeFileSync(program, "no program\n");
  expect((await refusal())[1]).toStartWith(`${unusable}: criu: execute ${program}: `);
});
