// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from "commander";
import { pathsFor } from "../paths.ts";
import type { Io } from "./io.ts";
import { COMMON_OPTIONS } from "./manual/help.ts";
import type { Context } from "./program.ts";

// The same objects for every command: making them anew for each is a noticeable part of what --help takes.
const INSTANCE_OPTIONS: readonly Option[] = [
  new Option("--root <dir>", "use the daemon of the instance below this directory").helpGroup(COMMON_OPTIONS),
  new Option("--socket <path>", "use the daemon at this socket (PODRT_SOCKET)").helpGroup(COMMON_OPTIONS),
];
const COLOR_OPTION = new Option(
  "--color <when>",
  "colours in what is shown; auto: on terminals, unless NO_COLOR is set",
)
  .choices(["auto", "always", "never"])
  .helpGroup(COMMON_OPTIONS);

/** Adds the options that say which daemon is meant. */
export function addInstanceOptions(command: Command): void {
  for (const option of INSTANCE_OPTIONS) command.addOption(option);
  addColorOption(command);
}

export function addColorOption(command: Command): Command {
  return command.addOption(COLOR_OPTION);
}

/** Which daemon a command speaks to. */
export function daemonOf(
  { root, socket }: { readonly root?: string; readonly socket?: string },
  env: Io["env"],
): Pick<Context, "socketPath" | "paths"> {
  const named = socket ?? (root === undefined ? env["PODRT_SOCKET"] : undefined);
  if (named !== undefined && named !== "") return { socketPath: named, paths: undefined };
  const paths = pathsFor(root);
  return { socketPath: paths.socket, paths };
}
