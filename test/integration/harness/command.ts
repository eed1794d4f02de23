// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { patience } from "../../support/patience.ts";

export interface CommandResult {
  /** Exit code; 128 + n when signal n ended it, as a shell says it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly stdin?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

const signalNumbers: Readonly<Record<string, number>> = { SIGKILL: 9, SIGTERM: 15, SIGINT: 2, SIGSEGV: 11 };

/** Runs a program to its end. Fails only when it cannot be started or does not end in time. */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const timeoutMs = (options.timeoutMs ?? 60_000) * patience;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...process.env, ...options.env },
    });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name]!.setEncoding("utf8").on("data", (chunk: string) => {
        text[name] += chunk;
      });
    }
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.stdin);
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      const shown = `${program} ${args.join(" ")}`;
      reject(new Error(`${shown} did not end within ${timeoutMs} ms\n${text.stdout}${text.stderr}`));
    }, timeoutMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? 128 + (signalNumbers[signal ?? ""] ?? 0), ...text });
    });
  });
}

/** Runs a program that must succeed, and answers its output. */
export async function outputOf(
  program: string,
  args: readonly string[],
  options?: CommandOptions,
): Promise<string> {
  const { code, stdout, stderr } = await runCommand(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} exited with ${code}: ${stderr}${stdout}`);
  return stdout;
}
