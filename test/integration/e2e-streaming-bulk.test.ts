// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { openSession, transports } from "../fixtures/session-client.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runContainer, runSandbox } from "./harness/pods.ts";
import { memoryOf } from "./harness/proc.ts";

const fixture = useDaemon();

const MIB = 1024 * 1024;
/** `PODRT_TEST_BULK_MIB=1024` passes a gigabyte. */
const BULK_BYTES = Number(process.env["PODRT_TEST_BULK_MIB"] ?? 256) * MIB;
const CHUNK_BYTES = 64 * 1024;
/** What the daemon may grow by while the bytes pass: buffers of its own, of Bun's and of the garbage collector's. */
const MEMORY_BOUND_BYTES = 128 * MIB;

/** Chunks that differ from each other, so that one that is lost, doubled or moved is noticed. */
function chunk(index: number): Uint8Array {
  const words = new Uint32Array(CHUNK_BYTES / 4);
  for (let word = 0, state = index + 1; word < words.length; word++) {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    words[word] = state;
  }
  return new Uint8Array(words.buffer);
}

describe.each([...transports])("over %s", (transport) => {
  test("cat returns what it is given, byte for byte, in memory that does not grow with it", async () => {
    const { daemon } = fixture;
    const sandbox = await runSandbox(daemon, `bulk-${transport}`);
    const containerId = await runContainer(daemon, sandbox, { name: "app" });
    const request = { stdin: true, stdout: true, stderr: true };
    const { url } = await daemon.api.exec({ containerId, cmd: ["cat"], ...request });
    const session = await openSession(url, transport, request);
    const sent = new Bun.CryptoHasher("sha256");
    const received = new Bun.CryptoHasher("sha256");
    let receivedBytes = 0;
    session.onOutput((data) => {
      received.update(data);
      receivedBytes += data.length;
    });
    const before = memoryOf(daemon.pid())["Rss"]!;
    let highest = before;
    const watch = setInterval(() => {
      highest = Math.max(highest, memoryOf(daemon.pid())["Rss"] ?? 0);
    }, 100);
    const startMs = performance.now();
    for (let index = 0; index < BULK_BYTES / CHUNK_BYTES; index++) {
      const data = chunk(index);
      sent.update(data);
      await session.write(data);
    }
    session.endInput();
    expect(await session.status()).toEqual({ metadata: {}, status: "Success" } as never);
    clearInterval(watch);
    expect(receivedBytes).toBe(BULK_BYTES);
    expect(received.digest("hex")).toBe(sent.digest("hex"));
    const seconds = (performance.now() - startMs) / 1000;
    if (BULK_BYTES >= 1024 * MIB) {
      console.log(
        transport,
        `${seconds.toFixed(1)} s, RSS ${before / MIB} MiB, at most ${highest / MIB} MiB`,
      );
    }
    expect(highest - before).toBeLessThan(MEMORY_BOUND_BYTES);
  }, 200_000);
});
