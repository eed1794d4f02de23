// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { O_DIRECTORY, O_NOCTTY, O_NONBLOCK } from "../linux/abi/fcntl.ts";
import { type Fd, isOpen, open, pipe, setNonBlocking, writeAll } from "../linux/fd.ts";
import { replaceKernel, syscall } from "../linux/syscall.ts";
import { ContainerLog } from "./log.ts";
import { LINE_LIMIT_BYTES, type LogStream } from "./log-file.ts";

const RECORD = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)$/s;

let directory = "";
let path = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-log-"));
  path = join(directory, "pods", "container", "0.log");
});

afterEach(() => rmSync(directory, { recursive: true }));

type LogRecord = { time: string; stream: string; tag: string; content: string };

/** The records of a file; latin1, so that each byte is one character. */
function recordsOf(file: string): LogRecord[] {
  const text = readFileSync(file, "latin1");
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const [, time = "", stream = "", tag = "", content = ""] = RECORD.exec(line) ?? [];
      expect(time).not.toBe("");
      return { time, stream, tag, content };
    });
}

/** The tag and content of each record. */
function written(file = path): [string, string][] {
  return recordsOf(file).map(({ tag, content }) => [tag, content]);
}

/** A pipe whose reader is attached to `log`; `write` returns once the log has read all of it. */
function attachPipe(log: ContainerLog, stream: LogStream = "stdout") {
  const { read, write } = pipe();
  setNonBlocking(read.number, true);
  const source = log.attach(stream, read.number);
  let seen = 0;
  log.subscribe((of, chunk) => {
    if (of === stream) seen += chunk.length;
  });
  let sent = 0;
  return {
    source,
    async write(text: string) {
      const bytes = Buffer.from(text, "latin1");
      for (let at = 0; at < bytes.length; at += 32_768) {
        const part = bytes.subarray(at, at + 32_768);
        writeAll(write.number, part);
        sent += part.length;
        while (seen < sent) await Bun.sleep(0);
      }
    },
    async end() {
      write.close();
      await source.done;
      read.close();
    },
    [Symbol.dispose]() {
      write.close();
      read.close();
    },
  };
}

/** Logs `chunks`, one read each, and answers tag and content of the records. */
async function logged(chunks: readonly string[], options = {}): Promise<[string, string][]> {
  rmSync(path, { force: true });
  const log = new ContainerLog(path, options);
  using source = attachPipe(log);
  for (const chunk of chunks) await source.write(chunk);
  await source.end();
  await log.close();
  return written();
}

test("each record has the time that the clock says, however that was set since the one before", async () => {
  let seconds = 0n;
  const putBack = replaceKernel((real) => ({
    call(name, args) {
      if (name !== "clock_gettime") return real.call(name, args);
      new DataView((args[1] as Uint8Array).buffer).setBigInt64(0, seconds, true);
      new DataView((args[1] as Uint8Array).buffer).setBigInt64(8, 5n, true);
      return 0;
    },
  }));
  try {
    const log = new ContainerLog(path);
    using input = attachPipe(log);
    for (seconds of [1_700_000_000n, 0n, 4_920_000_000n, 1_700_000_000n]) await input.write("line\n");
    await input.end();
    await log.close();
  } finally {
    putBack();
  }
  expect(recordsOf(path).map(({ time }) => time)).toEqual([
    "2023-11-14T22:13:20.000000005Z",
    "1970-01-01T00:00:00.000000005Z",
    "2125-11-28T10:40:00.000000005Z",
    "2023-11-14T22:13:20.000000005Z",
  ]);
});

test("lines become full records with time, stream and tag, in a file that others cannot read", async () => {
  const before = Date.now();
  const log = new ContainerLog(path);
  using out = attachPipe(log, "stdout");
  using err = attachPipe(log, "stderr");
  await out.write("hello\n\nworld\n");
  await err.write("alas\n");
  await out.end();
  await err.end();
  await log.close();
  const records = recordsOf(path);
  expect(records.map(({ stream, tag, content }) => [stream, tag, content])).toEqual([
    ["stdout", "F", "hello"],
    ["stdout", "F", ""],
    ["stdout", "F", "world"],
    ["stderr", "F", "alas"],
  ]);
  for (const { time } of records) {
    expect(Date.parse(time)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now());
  }
  expect(statSync(path).mode & 0o777).toBe(0o640 & ~process.umask());
  expect(statSync(join(directory, "pods")).mode & 0o777).toBe(0o755 & ~process.umask());
});

test("a line read in pieces is one full record, and an unterminated rest is a partial one", async () => {
  expect(await logged(["he", "l", "lo\nwor", "ld"])).toEqual([
    ["F", "hello"],
    ["P", "world"],
  ]);
});

test("a line whose end takes its time is written as far as it goes, and ended by the next record", async () => {
  const log = new ContainerLog(path);
  const stdout = attachPipe(log);
  await stdout.write("password: ");
  await Bun.sleep(500);
  expect(written()).toEqual([["P", "password: "]]);
  await stdout.write("secret\n");
  expect(written()).toEqual([
    ["P", "password: "],
    ["F", "secret"],
  ]);
  await log.close();
});

test("a line of the limit is not split; one byte more is", async () => {
  const full = "x".repeat(LINE_LIMIT_BYTES);
  expect(await logged([`${full}\n${full}y\n`, full, "\n", full, "z\n", full])).toEqual([
    ["F", full],
    ["P", full],
    ["F", "y"],
    ["F", full],
    ["P", full],
    ["F", "z"],
    ["P", full],
  ]);
});

test("with a terminal one carriage return before a line feed is dropped, wherever the reads end", async () => {
  const full = "x".repeat(LINE_LIMIT_BYTES);
  const chunks = ["a\r\nb\r", "\nc\rd\r\r\n\r\n", `${full}\r`, "\n", `${full}\r`, "e\r\n", "f\r"];
  expect(await logged(chunks, { tty: true })).toEqual([
    ["F", "a"],
    ["F", "b"],
    ["F", "c\rd\r"],
    ["F", ""],
    ["F", full],
    ["P", full],
    ["F", "\re"],
    ["P", "f\r"],
  ]);
  expect(await logged(["a\r\n"])).toEqual([["F", "a\r"]]);
});

test("records hold every byte of any output, cut anywhere, and are partial only where they must be", async () => {
  const line = fc.oneof(
    fc.string({ maxLength: 40, unit: fc.constantFrom("a", "\r", "\0", "\xff", " ") }),
    fc.integer({ min: LINE_LIMIT_BYTES - 2, max: LINE_LIMIT_BYTES + 2 }).map((n) => "b".repeat(n)),
    fc.constant("c".repeat(2 * LINE_LIMIT_BYTES + 1)),
  );
  const output = fc.array(line, { maxLength: 8 }).map((lines) => lines.join("\n"));
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(output, cuts, fc.boolean(), async (text, fractions, tty) => {
      const positions = fractions.map((fraction) => Math.floor(fraction * text.length)).sort((a, b) => a - b);
      const chunks = [...positions, text.length].map((end, i) => text.slice(positions[i - 1] ?? 0, end));
      const records = await logged(chunks, { tty });
      const expected = tty ? text.replaceAll("\r\n", "\n") : text;
      expect(records.map(([tag, content]) => (tag === "F" ? `${content}\n` : content)).join("")).toBe(
        expected,
      );
      records.forEach(([tag, content], i) => {
        expect(content.length).toBeLessThanOrEqual(LINE_LIMIT_BYTES);
        if (tag === "P" && i < records.length - 1) expect(content.length).toBe(LINE_LIMIT_BYTES);
        if (!tty && i > 0 && records[i - 1]?.[0] === "P") expect(content.length).toBeGreaterThan(0);
      });
    }),
    { numRuns: 60 },
  );
}, 30_000);

test("reopen leaves the renamed file as it is and goes on in a new one, without losing a line", async () => {
  const log = new ContainerLog(path);
  using source = attachPipe(log);
  await source.write("one\ntw");
  const rotated = `${path}.1`;
  renameSync(path, rotated);
  await source.write("o\nthr");
  log.reopen();
  expect(existsSync(path)).toBe(true);
  const frozen = readFileSync(rotated);
  await source.write("ee\nfour\n");
  log.reopen();
  await source.end();
  await log.close();
  expect(readFileSync(rotated)).toEqual(frozen);
  expect([...written(rotated), ...written()].map(([, content]) => content)).toEqual([
    "one",
    "two",
    "three",
    "four",
  ]);
});

test("a reopen that fails says why and keeps the old file in use", async () => {
  const log = new ContainerLog(path);
  using source = attachPipe(log);
  const rotated = join(directory, "rotated");
  renameSync(path, rotated);
  rmSync(join(directory, "pods"), { recursive: true });
  writeFileSync(join(directory, "pods"), "in the way");
  expect(() => log.reopen()).toThrow(`cannot open log file ${path}: `);
  await source.write("kept\n");
  await source.end();
  await log.close();
  expect(written(rotated)).toEqual([["F", "kept"]]);
});

test("observers see raw bytes as they come; one that throws is heard no more and stops nobody", async () => {
  const log = new ContainerLog(path);
  const heard: string[] = [];
  const remove = log.subscribe((stream, chunk) => heard.push(`${stream} ${Buffer.from(chunk).toString()}`));
  let calls = 0;
  log.subscribe(() => {
    calls++;
    throw new Error("gone");
  });
  using source = attachPipe(log, "stderr");
  await source.write("half");
  await source.write(" line\n");
  remove();
  await source.write("unheard\n");
  await source.end();
  await log.close();
  expect(heard).toEqual(["stderr half", "stderr  line\n"]);
  expect(calls).toBe(1);
  expect(written()).toHaveLength(2);
});

test("a log without a path keeps nothing but reads and tells observers", async () => {
  const log = new ContainerLog("");
  using source = attachPipe(log);
  await source.write("heard\n");
  log.reopen();
  await source.end();
  await log.close();
});

test("cancel ends the wait for a writer that does not end, keeps what was read and the descriptor", async () => {
  const log = new ContainerLog(path);
  const { read, write } = pipe(O_NONBLOCK);
  const source = log.attach("stdout", read.number);
  const heard = Promise.withResolvers<void>();
  log.subscribe(() => heard.resolve());
  writeAll(write.number, Buffer.from("prompt> "));
  await heard.promise;
  source.cancel();
  await source.done;
  await log.drain();
  expect(written()).toEqual([["P", "prompt> "]]);
  expect(isOpen(read.number)).toBe(true);
  await log.close();
  expect(() => log.attach("stdout", read.number)).toThrow("closed log");
  expect(() => log.reopen()).toThrow("closed log");
  read.close();
  write.close();
});

test("close ends what is being read; closing again does nothing", async () => {
  const log = new ContainerLog(path);
  using source = attachPipe(log);
  await source.write("a\nb");
  await log.close();
  await log.close();
  expect(written()).toEqual([
    ["F", "a"],
    ["P", "b"],
  ]);
});

test("a record torn by an earlier daemon does not swallow the next one", async () => {
  await new ContainerLog(path).close();
  writeFileSync(path, "2026-01-01T00:00:00.000000000Z stdout F to");
  const log = new ContainerLog(path);
  using source = attachPipe(log);
  await source.write("new\n");
  await source.end();
  await log.close();
  expect(written()).toEqual([
    ["F", "to"],
    ["F", "new"],
  ]);
});

test("a log that is closed while it cannot be written gives up what is held back", async () => {
  // /dev/full takes nothing.
  const log = new ContainerLog("/dev/full");
  using source = attachPipe(log);
  await source.write("held back\n");
  expect(log.isHeldBack).toBe(true);
  let isDone = false;
  void source.source.done.then(() => {
    isDone = true;
  });
  source.source.cancel();
  await Bun.sleep(1);
  expect(isDone).toBe(false);
  await log.close();
  await source.source.done;
  expect(log.isHeldBack).toBe(false);
});

/** A pseudo-terminal: its master, non-blocking, and its other end. */
function openTerminal(): { master: Fd; slave: Fd } {
  const TIOCSPTLCK = 0x40045431;
  const TIOCGPTN = 0x80045430;
  const O_RDWR = 2;
  const number = new Uint32Array(1);
  const master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  syscall("ioctl", master.number, TIOCSPTLCK, new Uint8Array(4));
  syscall("ioctl", master.number, TIOCGPTN, new Uint8Array(number.buffer));
  return { master, slave: open(`/dev/pts/${number[0]}`, O_RDWR | O_NOCTTY) };
}

test("a terminal is read to its end, which is no error", async () => {
  const { master, slave } = openTerminal();
  const log = new ContainerLog(path, { tty: true });
  const { done } = log.attach("stdout", master.number);
  writeAll(slave.number, Buffer.from("first\nsecond\nprompt$ "));
  slave.close();
  await done;
  await log.close();
  master.close();
  expect(written()).toEqual([
    ["F", "first"],
    ["F", "second"],
    ["P", "prompt$ "],
  ]);
});

test("a descriptor that cannot be read is refused and does the log no harm", async () => {
  const log = new ContainerLog(path);
  using unreadable = open(directory, O_DIRECTORY);
  const message = "cannot read the output of a container: epoll_ctl: EPERM";
  expect(() => log.attach("stdout", unreadable.number)).toThrow(message);
  using source = attachPipe(log);
  await source.write("fine\n");
  await source.end();
  await log.close();
  expect(written()).toEqual([["F", "fine"]]);
});
