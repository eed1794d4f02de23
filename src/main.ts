// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { ExitCode } from "./cli/exit-code.ts";

/*
 * One file, three roles, chosen by argv: the sandbox init, the daemon, and the commands. Each loads
 * only its own modules, and this file alone ends the process.
 */
async function main(): Promise<number> {
  const words = process.argv.slice(2);
  const [role, ...rest] = words;
  if (basename(process.argv0) === "pause") return (await import("./cli/pause.ts")).execPause(words);
  const asksForHelp = rest.includes("--help") || rest.includes("-h");
  const writesImage = rest.some((word) => /^--(image|name)(=|$)/.test(word));
  if (role === "pause" && !asksForHelp && !writesImage)
    return (await import("./cli/pause.ts")).execPause(rest);
  if (role === "serve" && !asksForHelp) return serve(rest);
  const { runCli } = await import("./cli/program.ts");
  return runCli(words);
}

async function serve(words: string[]): Promise<number> {
  let options: { root?: string; config?: string };
  try {
    options = parseArgs({
      args: words,
      options: { root: { type: "string" }, config: { type: "string" } },
    }).values;
  } catch (error) {
    return complain(`${(error as Error).message}; see podrt serve --help`, ExitCode.usage);
  }
  return (await import("./cli/serve.ts")).serve(options);
}

function complain(message: string, exitCode: number): number {
  process.stderr.write(`podrt: ${message}\n`);
  return exitCode;
}

process.exit(
  await main().catch((error: unknown) =>
    complain(error instanceof Error ? error.message : String(error), ExitCode.failure),
  ),
);
