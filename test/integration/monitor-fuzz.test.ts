// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { type Fd, memfd, pipe } from "../../src/linux/fd.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";
import { Image, PROGRAM_ADDRESS, type Reply, readReplies, TestMonitor } from "./monitor-harness.ts";

setDefaultTimeout(fuzzTimeoutMs);

const PROGRAM_BYTES = 4096;
const END_MARK = 0xff;
const EINVAL = 22;

/** Numbers about the bounds of what a request may say, and any others. */
const anyWord = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    16n,
    BigInt(PROGRAM_BYTES),
    BigInt(PROGRAM_BYTES) + 1n,
    4n << 20n,
    (4n << 20n) + 1n,
  ),
  fc.constantFrom(
    BigInt(PROGRAM_ADDRESS),
    BigInt(PROGRAM_ADDRESS) - 1n,
    BigInt(PROGRAM_ADDRESS) + 8n,
    1n << 63n,
  ),
  fc.bigInt(0n, 2n ** 64n - 1n),
);
const payload = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(anyWord, anyWord).map((words) => new Uint8Array(new BigUint64Array(words).buffer)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
);
/** What stands in the place of the program, and of the reply pipe. */
const kind = fc.constantFrom("program", "reply", "null", "read end", "socket");
type Kind = "program" | "reply" | "null" | "read end" | "socket";

test("no datagram ends the monitor, keeps a descriptor in it, or goes unanswered where it can be answered", () => {
  using monitor = new TestMonitor();
  // Every word of it is the end of a table, so that any address in it is a program of no step.
  using program = memfd("program", new Uint8Array(PROGRAM_BYTES).fill(END_MARK));
  const before = monitor.descriptors();
  fc.assert(
    fc.property(payload, fc.array(kind as fc.Arbitrary<Kind>, { maxLength: 6 }), (bytes, kinds) => {
      using opened = new DisposableStack();
      const replies = pipe();
      opened.use(replies.read);
      const fds: Record<Kind, Fd> = {
        program,
        reply: opened.use(replies.write),
        null: program,
        "read end": replies.read,
        socket: replies.read,
      };
      monitor.send(
        bytes,
        kinds.map((name) => fds[name].number),
      );
      replies.write.close();
      const answers = kinds[1] === "reply" ? readReplies(replies.read.number) : [];
      // One answer where the second descriptor is a pipe, whatever came with it.
      if (kinds[1] === "reply") {
        expect(answers).toHaveLength(1);
        expect(answers[0]!.who).toBe(0);
        expect(answers[0]!.result).toBeLessThanOrEqual(0);
        if (bytes.length !== 16) expect(answers[0]).toEqual({ who: 0, index: 0xffff_ffff, result: -EINVAL });
      }
      const image = new Image(PROGRAM_BYTES);
      const done: Reply[] = monitor.run(image, image.table([{ call: "none", args: [0] }]));
      expect(done).toEqual([{ who: 0, index: 1, result: 0 }]);
      expect(monitor.isAlive).toBe(true);
      expect([...monitor.descriptors()]).toEqual([...before]);
    }),
    fuzz(150),
  );
  expect(syscall("kill", monitor.pid, 0)).toBe(0);
});
