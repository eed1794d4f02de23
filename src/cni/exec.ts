// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError, InternalError } from "../errors.ts";
import { endOf, spawnWithEngine } from "../launch/engine.ts";
import { becomeHostProgram, leadHostSession } from "../launch/host-program.ts";
import { newProgram } from "../launch/program.ts";
import { sleep } from "../lib/deadline.ts";
import { SIGNAL, signalName } from "../linux/abi/signal.ts";
import { Fd, memfd, pipe } from "../linux/fd.ts";
import { identifyChild, type ProcessIdentity } from "../linux/process.ts";
import { syscall, trySyscall } from "../linux/syscall.ts";

/*
 * A plugin is a program of the host's, run as root: what it does is its own business, but not for how long, nor
 * how much it says. It is a child of the daemon's with a session of its own, three descriptors, the environment
 * that it is given, and an end when the daemon dies: the next one undoes what it was doing.
 */

/** One run of a program, to its end. */
export interface PluginRun {
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** After that its process group is killed. */
  readonly timeoutMs: number;
}

export interface PluginExit {
  /** As wait(2) tells it: `exit code 3`, `SIGSEGV`; undefined for success. */
  readonly failure: string | undefined;
  readonly stdout: string;
  /** As much of the beginning as errors quote. */
  readonly stderr: string;
}

/** Of the configuration that goes in and of the result that comes out. */
export const STREAM_LIMIT_BYTES = 1024 * 1024;
const STDERR_LIMIT_BYTES = 16 * 1024;
// Output that is still on its way when the program has ended; longer means that a child of it holds the pipe.
const DRAIN_TIMEOUT_MS = 1000;

/**
 * Runs a plugin. Throws a DeadlineExceededError past its time, an InternalError when it cannot be executed
 * or writes more than a mebibyte; an exit code other than 0 is an answer.
 */
export async function runPlugin(run: PluginRun): Promise<PluginExit> {
  if (Buffer.byteLength(run.stdin) > STREAM_LIMIT_BYTES) {
    throw new InternalError(`what it is to read is larger than ${STREAM_LIMIT_BYTES} bytes`);
  }
  const { process, stdout, stderr } = spawn(run);
  let isRunning = true;
  const end = endOf(process).finally(() => {
    isRunning = false;
  });
  const failure = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      failure.reject(new DeadlineExceededError(`it did not end within ${run.timeoutMs} ms and was killed`)),
    run.timeoutMs,
  );
  const overflow = () =>
    failure.reject(new InternalError(`it wrote more than ${STREAM_LIMIT_BYTES} bytes and was killed`));
  const result = read(stdout, STREAM_LIMIT_BYTES, overflow);
  const errors = read(stderr, STDERR_LIMIT_BYTES, () => {});
  try {
    const status = await Promise.race([end, failure.promise]);
    await Promise.race([Promise.all([result.done, errors.done]), sleep(DRAIN_TIMEOUT_MS), failure.promise]);
    return { failure: failureOf(status), stdout: result.text(), stderr: errors.text() };
  } catch (error) {
    // Until it has been waited for, the number is its own; what it has started is of its group.
    if (isRunning) trySyscall("kill", -process.pid, SIGNAL.SIGKILL);
    throw error;
  } finally {
    clearTimeout(timer);
    await Promise.all([result.stop(), errors.stop()]);
  }
}

function spawn({ program, environment, stdin }: PluginRun): {
  process: ProcessIdentity;
  stdout: Fd;
  stderr: Fd;
} {
  using input = memfd("cni-configuration", new TextEncoder().encode(stdin));
  syscall("lseek", input.number, 0, 0);
  const { read: stdout, write: stdoutEnd } = pipe();
  using _stdoutEnd = stdoutEnd;
  using _stdout = stdout;
  const { read: stderr, write: stderrEnd } = pipe();
  using _stderrEnd = stderrEnd;
  using _stderr = stderr;
  const child = newProgram("CNI plugin");
  leadHostSession(child);
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  becomeHostProgram(child, [input, stdoutEnd, stderrEnd], [program], variables);
  const process = identifyChild(spawnWithEngine(child));
  return { process, stdout: new Fd(stdout.release()), stderr: new Fd(stderr.release()) };
}

function failureOf(status: number): string | undefined {
  const signo = status & 0x7f;
  if (signo === 0) return status === 0 ? undefined : `exit code ${(status >> 8) & 0xff}`;
  return signalName(signo);
}

interface Reading {
  readonly done: Promise<void>;
  text(): string;
  stop(): Promise<void>;
}

/** Reads to the end, keeping `limit` bytes; `overflow` hears of the first one more. */
function read(fd: Fd, limit: number, overflow: () => void): Reading {
  const chunks: Uint8Array[] = [];
  const reader = Bun.file(fd.number).stream().getReader();
  const run = async () => {
    for (let room = limit; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      chunks.push(value.subarray(0, room));
      if (value.length > room) overflow();
      room = Math.max(0, room - value.length);
    }
  };
  const done = run().catch(() => {});
  return {
    done,
    text: () => Buffer.concat(chunks).toString("utf8"),
    async stop() {
      await reader.cancel().catch(() => {});
      await done;
      fd.close();
    },
  };
}
