// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A program that runs until it is stopped, with what it says in a file. */
export interface RunningProgram {
  readonly pid: number;
  /** The last lines of what it has said. */
  said(): string;
  /** Ends it by SIGTERM or the signal given, and by SIGKILL when it takes longer than ten seconds. */
  stop(signal?: "SIGKILL"): Promise<void>;
}

export function startProgram(
  path: string,
  args: readonly string[],
  logDir: string,
  environment: Readonly<Record<string, string>> = {},
): RunningProgram {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const logFile = join(logDir, `${name}.log`);
  const log = openSync(logFile, "a");
  const env = { ...process.env, ...environment };
  const child: ChildProcess = spawn(path, args, { cwd: logDir, stdio: ["ignore", log, log], env });
  closeSync(log);
  const ended = new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  return {
    pid: child.pid ?? 0,
    said: () => readFileSync(logFile, "utf8").split("\n").slice(-30).join("\n"),
    async stop(signal) {
      process.off("exit", killAtExit);
      child.kill(signal ?? "SIGTERM");
      if (await Promise.race([ended.then(() => true), sleep(10_000)])) return;
      child.kill("SIGKILL");
      await ended;
    },
  };
}
