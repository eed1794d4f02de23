// SPDX-License-Identifier: Apache-2.0
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf, runCommand } from "../integration/harness/command.ts";

/** When a process was made and became the program, counted from an event before it; milliseconds of one clock. */
export interface Launch {
  readonly askedToExecMs: number;
  readonly cloneToExecMs: number;
}

/** The kernel's own record of clones and execs (tracefs), in an instance that disturbs no other tracer. */
export interface KernelTrace extends AsyncDisposable {
  /** Forgets what was recorded and sets a mark now. */
  mark(): void;
  /** The first exec of the program since the mark, or since the exec of the launcher; undefined without one. */
  launchOf(program: string, launcher?: string): Launch | undefined;
}

const markText = "podrt-bench-mark";
const events = ["sched_process_fork", "sched_process_exec"];

/** Starts recording; fails where the kernel has no tracefs or it cannot be mounted. */
export async function startKernelTrace(): Promise<KernelTrace> {
  const mountPoint = mkdtempSync(join(tmpdir(), "podrt-trace-"));
  await outputOf("mount", ["-t", "tracefs", "tracefs", mountPoint]);
  const dir = join(mountPoint, "instances", `podrt-${process.pid}`);
  const stop = async () => {
    if (existsSync(dir)) rmdirSync(dir);
    await runCommand("umount", [mountPoint]);
    rmdirSync(mountPoint);
  };
  try {
    mkdirSync(dir);
    writeFileSync(join(dir, "trace_clock"), "mono");
    for (const event of events) writeFileSync(join(dir, "events/sched", event, "enable"), "1");
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    mark() {
      // Opening it for writing is what empties it.
      closeSync(openSync(join(dir, "trace"), "w"));
      writeFileSync(join(dir, "trace_marker"), markText);
    },
    launchOf: (program, launcher) => findLaunch(readFileSync(join(dir, "trace"), "utf8"), program, launcher),
    [Symbol.asyncDispose]: stop,
  };
}

/** Lines look like `task-pid [cpu] flags seconds.micros: event: fields`. */
function findLaunch(text: string, program: string, launcher?: string): Launch | undefined {
  const all = text.split("\n");
  const lines = all.slice(
    Math.max(
      0,
      all.findLastIndex((line) => line.includes(markText)),
    ),
  );
  const timeOf = (line: string) => Number(/ (\d+\.\d+): /.exec(line)?.[1]) * 1000;
  const execOf = (name: string) =>
    lines.find((line) => line.includes(` sched_process_exec: filename=${name} `));
  const asked = launcher === undefined ? lines.find((line) => line.includes(markText)) : execOf(launcher);
  const exec = execOf(program);
  if (asked === undefined || exec === undefined) return undefined;
  const pid = / pid=(\d+)/.exec(exec)![1]!;
  const clone = lines.findLast(
    (line) => line.includes("sched_process_fork:") && line.endsWith(` child_pid=${pid}`),
  );
  return {
    askedToExecMs: timeOf(exec) - timeOf(asked),
    cloneToExecMs: clone === undefined ? Number.NaN : timeOf(exec) - timeOf(clone),
  };
}
