// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerState } from "../gen/runtime/v1/api_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { populate } from "./fake-pods.ts";

describe("logs", () => {
  const LOG = [
    "2026-01-01T00:00:01Z stdout F one",
    "2026-01-01T00:00:02Z stdout P tw",
    "2026-01-01T00:00:02Z stdout F o",
    "not a line of a log",
    "2026-01-01T00:00:03Z stderr F three",
    "2026-01-01T00:00:04Z stdout P end",
    "",
  ].join("\n");

  async function daemonWithLog(): Promise<FakeDaemon> {
    const daemon = await startFakeDaemon({
      runtime: { containerStatus: () => ({ status: { id: "x", logPath: join(daemon.directory, "log") } }) },
    });
    populate(daemon);
    writeFileSync(join(daemon.directory, "log"), LOG);
    return daemon;
  }

  test("go to the stream they were written to, parts of lines joined", async () => {
    await using daemon = await daemonWithLog();
    expect(await runCommand(daemon.socketPath, ["logs", "app1"])).toEqual({
      exitCode: 0,
      out: "one\ntwo\nend",
      err: "three\n",
    });
  });

  test("begin with the last lines under --tail", async () => {
    await using daemon = await daemonWithLog();
    const { out, err } = await runCommand(daemon.socketPath, [
      "logs",
      "demo/app1",
      "--tail",
      "3",
      "--timestamps",
    ]);
    expect(out + err).toBe("2026-01-01T00:00:02Z two\n2026-01-01T00:00:04Z end2026-01-01T00:00:03Z three\n");
  });

  test("are followed through a rename until the container ends", async () => {
    await using daemon = await daemonWithLog();
    const path = join(daemon.directory, "log");
    let step = 0;
    const { out } = await runCommand(daemon.socketPath, ["logs", "-f", "app1"], {
      onOut(text) {
        if (text.includes("end") && step++ === 0) {
          appendFileSync(path, "2026-01-01T00:00:05Z stdout F ing\n");
          renameSync(path, `${path}.1`);
          writeFileSync(path, "2026-01-01T00:00:06Z stdout F renamed\n");
        } else if (text.includes("renamed")) {
          daemon.containers[0]!.state = ContainerState.CONTAINER_EXITED;
          appendFileSync(path, "2026-01-01T00:00:07Z stdout F last words\n");
        }
      },
    });
    expect(out).toBe("one\ntwo\nending\nrenamed\nlast words\n");
  });
});
