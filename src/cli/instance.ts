// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from "commander";
import { pathsFor } from "../paths.ts";
import type { Io } from "./io.ts";
import { COMMON_OPTIONS } from "./manual/help.ts";
import type { Context } from "./program.ts";

/** Adds the options that say which daemon is meant. */
export function addInstanceOptions(command: Command): void {
  for (const option of [
    new Option("--root <dir>", "use the daemon of the instance below this directory"),
    new Option("--socket <path>", "use the daemon at this socket (PODRT_SOCKET)"),
  ])
    command.addOption(option.helpGroup(COMMON_OPTIONS));
  addColorOption(command);
}

export function addColorOption(command: Command): Command {
  const option = new Option(
    "--color <when>",
    "colours in what is shown; auto: on terminals, unless NO_COLOR is set",
  );
  return command.addOption(option.choices(["auto", "always", "never"]).helpGroup(COMMON_OPTIONS));
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
