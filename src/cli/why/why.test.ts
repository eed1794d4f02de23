// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerState } from "../../gen/runtime/v1/api_pb.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate, statuses } from "../fake-pods.ts";
import { exitInWords } from "./exit-words.ts";
import { failedStep, likelyCause } from "./likely-cause.ts";

describe("why", () => {
  test("a container that waits for its image is told with the cause, the advice and the next try", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const app2 = daemon.pods[0]!.containers![1]!;
    const message = "cannot pull nowhere.invalid/x: getaddrinfo ENOTFOUND nowhere.invalid";
    const later = BigInt(Date.now() + 3_600_000);
    daemon.pods[0]!.containers![1] = { ...app2, message, nextTryAtMs: later };
    const { out, exitCode } = await runCommand(daemon.socketPath, ["why", "demo/app2"]);
    expect(exitCode).toBe(0);
    expect(out).toStartWith(`container demo/app2: ErrImagePull\n  ${message}\n`);
    expect(out).toContain("Likely cause: the registry cannot be reached from this machine");
    expect(out).toMatch(/Next try: in (59 min 59 s|60 min 0 s|1 h 0 min)/);
  });

  test("a container that is not ready is told with what its probe answered last", async () => {
    const running = { id: id("d"), state: ContainerState.CONTAINER_RUNNING, createdAt: 1n, startedAt: 2n };
    await using daemon = await startFakeDaemon({
      runtime: { ...statuses, containerStatus: () => ({ status: running, info: {} }) },
    });
    populate(daemon);
    const [app1] = daemon.pods[0]!.containers!;
    const probeFailure = "the readiness probe failed at 2026-01-01T00:00:00.000Z: GET / answered 503";
    daemon.pods[0]!.containers![0] = { ...app1, ready: false, probeFailure };
    const { out } = await runCommand(daemon.socketPath, ["why", "demo/app1"]);
    expect(out).toContain("Running, not ready");
    expect(out).toContain("The readiness probe failed at 2026-01-01T00:00:00.000Z: GET / answered 503.");
  });

  test("a container that crashed tells how it ended, when, and its last lines", async () => {
    const started = 1_700_000_000_000_000_000n;
    const ended = {
      id: id("d"),
      state: ContainerState.CONTAINER_EXITED,
      createdAt: started - 200_000_000n,
      startedAt: started,
      finishedAt: started + 2_500_000_000n,
      exitCode: 139,
      reason: "Error",
      logPath: "",
    };
    await using daemon = await startFakeDaemon({
      runtime: { ...statuses, containerStatus: () => ({ status: ended, info: {} }) },
    });
    populate(daemon);
    ended.logPath = join(daemon.directory, "0.log");
    const lines = Array.from({ length: 12 }, (_, n) => `2026-01-01T00:00:00Z stderr F line ${n}\n`);
    writeFileSync(ended.logPath, lines.join(""));
    daemon.containers = [{ ...daemon.containers[1]!, state: ContainerState.CONTAINER_EXITED }];
    daemon.pods[0]!.containers![0] = {
      name: "app1",
      state: "waiting",
      reason: "CrashLoopBackOff",
      restarts: 3,
    };
    const { out } = await runCommand(daemon.socketPath, ["why", "demo/app1"]);
    expect(out).toContain("exit code 139: ended by SIGSEGV, it touched memory that is not its own");
    expect(out).toContain("It was restarted 3 times.");
    expect(out).toContain("2023-11-14T22:13:22.500Z  ended, 2.5 s later");
    expect(out).toContain("line 11");
    expect(out).not.toContain("line 1\n");
  });

  test("a pod is told with all of its containers, as JSON too", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const { out } = await runCommand(daemon.socketPath, ["why", "demo", "-o", "json"]);
    const stories = JSON.parse(out) as { kind: string; name: string; state: string; isWell: boolean }[];
    expect(stories.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "pod demo",
      "container demo/app1",
      "container demo/app2",
    ]);
    expect(stories[0]).toMatchObject({ state: "Running", isWell: false });
    expect(stories[2]).toMatchObject({ state: "ErrImagePull", isWell: false });
  });

  test("a stop that somebody asked for is told, and an unknown name is refused", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    daemon.pods[0]!.phase = "Stopped";
    const { out } = await runCommand(daemon.socketPath, ["why", "demo"]);
    expect(out).toContain("Somebody asked for the stop");
    const unknown = await runCommand(daemon.socketPath, ["why", "nobody"]);
    expect(unknown).toMatchObject({ exitCode: 1, out: "" });
    expect(unknown.err).toContain("there is no pod or container nobody");
  });
});

test("a failed step is found in the sentence of a launch", () => {
  expect(failedStep("container app1: mount directory /a: b on /c: ENOTDIR (not a directory)")).toEqual({
    step: "mount directory /a: b on /c",
    errno: "ENOTDIR",
  });
  expect(failedStep("cannot pull x: 404")).toBeUndefined();
});

test.each([
  [
    "RunContainerError",
    "container a: execute nosuch (looked for in PATH): ENOENT (no such file or directory)",
    /no such program/,
  ],
  ["RunContainerError", "container a: execute /etc/passwd: EACCES (permission denied)", /not executable/],
  ["ErrImagePull", "cannot pull x: the registry answered 401", /credentials/],
  ["ErrImagePull", "cannot pull x: manifest unknown", /no such image or tag/],
  [
    "ErrImagePull",
    "cannot pull x: manifest latest: registry-1.docker.io has no address (ENOTFOUND); check the network",
    /cannot be reached/,
  ],
  [
    "OOMKilled",
    "the kernel killed 1: the container's memory limit of 16 MiB was reached",
    /more memory than its limit/,
  ],
  ["OOMKilled", "the kernel killed 1: the machine had no more", /whole machine/],
  ["Error", "liveness probe failed: GET /: 500", /liveness probe/],
  ["CreatePodSandboxError", "host port 80 is taken", /network/],
])("the likely cause of %s %s", (reason, message, cause) => {
  expect(likelyCause({ reason, message })?.cause).toMatch(cause);
});

test.each([
  [0, "success"],
  [127, "did not find a command"],
  [137, "SIGKILL"],
  [159, "seccomp"],
  [165, "SIGRTMIN+3"],
  [77, "its own documentation"],
])("exit code %p in words", (code, words) => {
  expect(exitInWords(code)).toContain(words);
});
