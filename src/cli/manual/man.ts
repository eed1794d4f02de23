// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../../package.json" with { type: "json" };
import { cannotWrite } from "../file-problem.ts";
import type { Context } from "../program.ts";
import { UsageError } from "../usage-error.ts";
import { type CommandDescription, describeCommand } from "./describe.ts";
import { manPage, pageName } from "./man-page.ts";

/**
 * Writes the manual page of each command into a directory, which is made where it is not there. The pages have today's date,
 * or that of SOURCE_DATE_EPOCH, so that a build can be repeated.
 */
export async function man({ io, program: tree }: Context, directory: string): Promise<number> {
  const program = describeCommand(tree);
  const edition = { version: manifest.version, date: dateOf(io.env["SOURCE_DATE_EPOCH"]) };
  const commands = all(program);
  try {
    mkdirSync(directory, { recursive: true });
    for (const command of commands) {
      writeFileSync(join(directory, pageName(command)), manPage(command, program, edition));
    }
  } catch (error) {
    throw cannotWrite("manual pages", directory, error);
  }
  await io.out(`${commands.length} pages are in ${directory}; read them with man -l\n`);
  return 0;
}

function all(command: CommandDescription): CommandDescription[] {
  return [command, ...command.commands.flatMap(all)];
}

function dateOf(epochSeconds: string | undefined): Date {
  if (epochSeconds === undefined || epochSeconds === "") return new Date();
  if (!/^\d{1,11}$/.test(epochSeconds)) {
    throw new UsageError(
      `SOURCE_DATE_EPOCH is ${JSON.stringify(epochSeconds)}; it has to be seconds since 1970`,
    );
  }
  return new Date(Number(epochSeconds) * 1000);
}
