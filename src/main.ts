// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";

/*
 * One file, three roles, chosen by argv: the sandbox init, the daemon, and the commands. Each loads
 * only its own modules, and this file alone ends the process.
 */
async function main(): Promise<number> {
  const [role, ...rest] = process.argv.slice(2);
  if (basename(process.argv0) === "pause")
    return (await import("./cli/pause.ts")).execPause(process.argv.slice(2));
  if (role === "pause" && !rest.includes("--help")) return (await import("./cli/pause.ts")).execPause(rest);
  const { runCli } = await import("./cli/program.ts");
  return runCli(process.argv.slice(2));
}

process.exit(await main());
