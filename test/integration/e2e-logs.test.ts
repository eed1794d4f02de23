// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { pageOf, runDetached, runningPod, sharedNamespaceDemo } from "./harness/manifests.ts";
import { containerStatus, createContainer, exited, runContainer, runSandbox } from "./harness/pods.ts";

const fixture = useDaemon();
let sandboxId: string;
let logDirectory: string;
let counter = 0;

beforeAll(async () => {
  logDirectory = join(fixture.daemon.root, "logs");
  sandboxId = await runSandbox(fixture.daemon, "logs", { logDirectory });
});

interface LogLine {
  readonly timeMs: number;
  readonly stream: string;
  readonly tag: string;
  readonly content: string;
}

/** The lines of a log, each of which must have the form that the interface asks for. */
function parseLog(path: string): LogLine[] {
  const text = readFileSync(path, "utf8");
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const form =
        /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP]) (.*)$/s;
      const match = form.exec(line);
      if (match === null) throw new Error(`not a line of a CRI log: ${line.slice(0, 200)}`);
      const [, time, stream, tag, content] = match as unknown as [string, string, string, string, string];
      return { timeMs: Date.parse(time), stream, tag, content };
    });
}

/** Runs a shell line to its end; answers its log. */
async function logOf(line: string, more: Record<string, unknown> = {}): Promise<LogLine[]> {
  const name = `line-${counter++}`;
  const config = { name, command: ["sh", "-c", line], logPath: `${name}/0.log`, ...more };
  const id = await runContainer(fixture.daemon, sandboxId, config);
  const { logPath } = await exited(fixture.daemon, id);
  expect(logPath).toBe(join(logDirectory, name, "0.log"));
  return parseLog(logPath);
}

test("each line has its time, its stream and a tag, in the order of its stream", async () => {
  const startMs = Date.now();
  const lines = await logOf("echo one; echo two; echo oops >&2; echo; echo 'with  spaces '");
  const texts = (stream: string) =>
    lines.filter((line) => line.stream === stream).map(({ content }) => content);
  expect(texts("stdout")).toEqual(["one", "two", "", "with  spaces "]);
  expect(texts("stderr")).toEqual(["oops"]);
  expect(lines.every(({ tag }) => tag === "F")).toBe(true);
  for (const { timeMs } of lines) {
    expect(timeMs).toBeGreaterThanOrEqual(startMs - 1);
    expect(timeMs).toBeLessThanOrEqual(Date.now());
  }
  expect(lines.map(({ timeMs }) => timeMs)).toEqual(lines.map(({ timeMs }) => timeMs).sort((a, b) => a - b));
});

test("a long line is cut into parts that together are the line", async () => {
  const lines = await logOf("head -c 100000 /dev/zero | tr '\\0' x; echo; echo after");
  const parts = lines.slice(0, -1);
  expect(parts.slice(0, -1).every(({ tag }) => tag === "P")).toBe(true);
  expect(parts.at(-1)!.tag).toBe("F");
  expect(Math.max(...parts.map(({ content }) => content.length))).toBe(16_384);
  expect(parts.map(({ content }) => content).join("")).toBe("x".repeat(100_000));
  expect(lines.at(-1)).toMatchObject({ content: "after", tag: "F" });
});

test("what follows the last newline is a part", async () => {
  const lines = await logOf("echo whole; printf 'no newline'");
  expect(lines.map(({ tag, content }) => [tag, content])).toEqual([
    ["F", "whole"],
    ["P", "no newline"],
  ]);
});

test("bytes that are not UTF-8 are kept as they are", async () => {
  const name = "bytes";
  const config = { name, command: ["printf", "\\377\\376 raw\\n"], logPath: "bytes.log" };
  const id = await runContainer(fixture.daemon, sandboxId, config);
  const { logPath } = await exited(fixture.daemon, id);
  expect(readFileSync(logPath).includes(Buffer.from([0xff, 0xfe]))).toBe(true);
});

test("ten megabytes of lines arrive complete and in order", async () => {
  const lines = await logOf("awk 'BEGIN { for (i = 1; i <= 400000; i++) print i, \"padding padding\" }'");
  expect(lines).toHaveLength(400_000);
  expect(lines[0]!.content).toStartWith("1 padding");
  expect(lines.findIndex(({ content }, i) => Number.parseInt(content, 10) !== i + 1)).toBe(-1);
});

test("with a terminal everything is on stdout, and lines end without carriage return", async () => {
  const lines = await logOf("echo out; echo err >&2", { tty: true });
  expect(lines.map(({ stream, content }) => [stream, content])).toEqual([
    ["stdout", "out"],
    ["stdout", "err"],
  ]);
});

test("a reopened log goes on in a new file, and the renamed one never grows", async () => {
  const { daemon } = fixture;
  const ticking = ["sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; usleep 5000; done"];
  const id = await runContainer(daemon, sandboxId, {
    name: "ticker",
    command: ticking,
    logPath: "ticker.log",
  });
  const path = (await containerStatus(daemon, id)).logPath;
  await eventually("the log has lines", () => parseLog(path).length > 20);
  renameSync(path, `${path}.1`);
  await daemon.api.reopenContainerLog({ containerId: id });
  const rotatedBytes = statSync(`${path}.1`).size;
  await eventually("the new log has lines", () => parseLog(path).length > 20);
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  expect(statSync(`${path}.1`).size).toBe(rotatedBytes);
  const numbers = [`${path}.1`, path].flatMap(parseLog).map(({ content }) => Number(content));
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
});

test("the log of a container that does not run is not reopened, and no file is made", async () => {
  const { daemon } = fixture;
  const id = await createContainer(daemon, sandboxId, { name: "unstarted", logPath: "unstarted.log" });
  const before = Array.from(new Bun.Glob("**").scanSync(logDirectory)).sort();
  expect(daemon.api.reopenContainerLog({ containerId: id })).rejects.toThrow(/failed_precondition/);
  await Bun.sleep(50);
  expect(Array.from(new Bun.Glob("**").scanSync(logDirectory)).sort()).toEqual(before);
});

test("a container without a log path writes none and runs all the same", async () => {
  const { daemon } = fixture;
  mkdirSync(logDirectory, { recursive: true });
  const id = await runContainer(daemon, sandboxId, { name: "silent", command: ["echo", "unheard"] });
  expect(await exited(daemon, id)).toMatchObject({ exitCode: 0, logPath: "" });
});

test("podrt logs prints a container's output, and the output of commands executed in it is not there", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, sharedNamespaceDemo);
  const pod = await runningPod(daemon, "shared-namespace-demo");
  expect(await pageOf(pod, "/log-me")).toContain("404 Not Found");
  const shown = await eventually("the request is logged", async () => {
    const { stdout } = await daemon.podrt("logs", "shared-namespace-demo/nginx");
    return stdout.includes("GET /log-me") ? stdout : undefined;
  });
  expect(shown).toContain('"GET /log-me HTTP/1.1" 404');
});
