// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { patience } from "../../support/patience.ts";

/** A shell in which a page's commands run one after the other, with its variables and background jobs. */
export interface Shell {
  /** Runs a command to its end; `output` is what came on stdout and stderr meanwhile, also of background jobs. */
  run(command: string): Promise<{ readonly code: number; readonly output: string }>;
  /** Ends the shell and all that it has started and that has not left its process group. */
  close(): Promise<void>;
}

const COMMAND_MS = 60_000 * patience;

export function openShell(options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }): Shell {
  const shell = spawn("bash", ["--noprofile", "--norc"], { ...options, stdio: "pipe", detached: true });
  const ended = new Promise<void>((resolve) => shell.once("close", () => resolve()));
  let output = "";
  let look = () => {};
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
      look();
    });
  }
  shell.stdin.on("error", () => {});
  shell.stdin.write("exec 2>&1\n");
  return {
    async run(command) {
      const mark = randomUUID();
      output = "";
      const done = new Promise<{ code: number; output: string }>((resolve) => {
        look = () => {
          const [written = "", code] = output.split(`\n${mark} `);
          if (code?.endsWith("\n")) resolve({ code: Number.parseInt(code, 10), output: written });
        };
      });
      shell.stdin.write(`{ ${command}\n} </dev/null; printf '\\n%s %d\\n' ${mark} "$?"\n`);
      const result = await Promise.race([done, ended, Bun.sleep(COMMAND_MS)]);
      if (result !== undefined) return result;
      throw new Error(`\`${command}\` has not ended within ${COMMAND_MS} ms:\n${output}`);
    },
    async close() {
      killGroup(shell);
      await Promise.race([ended, Bun.sleep(COMMAND_MS)]);
    },
  };
}

function killGroup({ pid }: ChildProcess): void {
  try {
    process.kill(-pid!, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}
