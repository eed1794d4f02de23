// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { patience } from "../support/patience.ts";
import { MEMORY_BOUND_BYTES } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { createContainer, runContainer, runSandbox } from "./harness/pods.ts";
import { memoryPeakOf } from "./harness/proc.ts";

/*
 * What containers and clients do at their worst, in one daemon, whose memory stays within its bound. Every end-to-end
 * file checks the same bound when its daemon ends; sessions that break off and hostile images have files of their own.
 * `PODRT_TEST_LOAD=40` does forty times as much.
 */

const fixture = useDaemon();
const LOAD = Number(process.env["PODRT_TEST_LOAD"] ?? 1);
const timeoutMs = 60_000 * LOAD * patience;
const MUCH = 16_000_000;
let sandboxId: string;
let idle: string;

beforeAll(async () => {
  const { daemon } = fixture;
  sandboxId = await runSandbox(daemon, "memory", { logDirectory: join(daemon.root, "memory-logs") });
  idle = await runContainer(daemon, sandboxId, { name: "idle" });
});

afterEach(() => expect(memoryPeakOf(fixture.daemon.pid())).toBeLessThan(MEMORY_BOUND_BYTES));

/** A client that speaks as a kubelet does, on a connection of its own. */
function grpcClient() {
  const createConnection = () => connect(fixture.daemon.socket);
  const nodeOptions = { createConnection } as never;
  return createClient(
    RuntimeService,
    createGrpcTransport({ baseUrl: "http://localhost", nodeOptions, readMaxBytes: 2 ** 24 }),
  );
}

test(
  "a firehose of lines of a megabyte goes to the log",
  async () => {
    const { daemon } = fixture;
    const lines = 60 * LOAD;
    const line = "head -c 1000000 /dev/zero | tr '\\0' x; echo";
    const id = await runContainer(daemon, sandboxId, {
      name: "firehose",
      command: ["sh", "-c", `for i in $(seq ${lines}); do ${line}; done; sleep 3600`],
      logPath: "firehose.log",
    });
    const log = join(daemon.root, "memory-logs/firehose.log");
    await eventually("it is all in the log", () => statSync(log).size > lines * 1_000_000, 40_000 * LOAD);
    await daemon.api.removeContainer({ containerId: id });
  },
  timeoutMs,
);

test(
  "one command after the other answers with as much as a reply may hold",
  async () => {
    const client = grpcClient();
    const cmd = ["head", "-c", String(MUCH), "/dev/zero"];
    for (let count = 0; count < 12 * LOAD; count++) {
      const { exitCode, stdout } = await client.execSync({ containerId: idle, cmd, timeout: 30n });
      expect([exitCode, stdout.length]).toEqual([0, MUCH]);
    }
  },
  timeoutMs,
);

test(
  "of commands that keep much output at the same time some are refused, and one with little goes on",
  async () => {
    const holding = ["sh", "-c", `head -c ${MUCH} /dev/zero; until test -e /tmp/enough; do sleep 0.1; done`];
    const client = grpcClient();
    const refused: ConnectError[] = [];
    const replies: number[] = [];
    const commands = Array.from({ length: 40 }, async () => {
      try {
        const { stdout } = await client.execSync({ containerId: idle, cmd: holding, timeout: 50n });
        replies.push(stdout.length);
      } catch (error) {
        refused.push(ConnectError.from(error));
      }
    });
    await eventually("most are refused", () => refused.length >= 36, 40_000);
    const probe = await client.execSync({ containerId: idle, cmd: ["echo", "ready"], timeout: 30n });
    expect(Buffer.from(probe.stdout).toString()).toBe("ready\n");
    await client.execSync({ containerId: idle, cmd: ["touch", "/tmp/enough"], timeout: 30n });
    await Promise.all(commands);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set([Code.ResourceExhausted]));
    expect(refused[0]?.message).toContain("run fewer with much output at a time");
    expect(new Set(replies)).toEqual(new Set([MUCH]));
  },
  timeoutMs,
);

test(
  "events that twenty subscribers do not read are kept to a bound",
  async () => {
    const { daemon } = fixture;
    const leaving = new AbortController();
    try {
      for (let count = 0; count < 20; count++) {
        const events = grpcClient().getContainerEvents({}, { signal: leaving.signal, timeoutMs: 0 });
        void events[Symbol.asyncIterator]()
          .next()
          .catch(() => {});
      }
      const pod = await runSandbox(daemon, "events");
      const annotations = { much: "x".repeat(20_000) };
      for (let count = 0; count < 10; count++) {
        await createContainer(daemon, pod, { name: `stays-${count}`, annotations });
      }
      for (let count = 0; count < 60 * LOAD; count++) {
        const containerId = await createContainer(daemon, pod, { name: `goes-${count}`, annotations });
        await daemon.api.removeContainer({ containerId });
      }
    } finally {
      leaving.abort();
    }
  },
  timeoutMs,
);

test(
  "requests as large as a message may be are read and refused, alone and several at a time",
  async () => {
    const annotations = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`a${index}`, randomBytes(125_000).toString("hex")]),
    );
    const config = { metadata: { name: "huge", namespace: "default", uid: "huge" }, annotations };
    const ask = async () => {
      const error = await grpcClient()
        .runPodSandbox({ config: config as never })
        .catch(ConnectError.from);
      expect((error as ConnectError).message).toContain("config.annotations: must not exceed");
    };
    for (let count = 0; count < 8 * LOAD; count++) await ask();
    for (let round = 0; round < LOAD; round++) await Promise.all(Array.from({ length: 4 }, ask));
  },
  timeoutMs,
);
