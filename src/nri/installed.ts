// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../errors.ts";
import { namesIn } from "../lib/directory.ts";
import { printable } from "../lib/foreign-text.ts";
import type { Logger } from "../lib/logger.ts";
import { readSmallFile } from "../lib/small-file.ts";

/*
 * Plugins that an administrator has installed for the runtime to start (nri, README, "Pre-registered plugins"): executable
 * files named INDEX-NAME in one directory, whose configurations are INDEX-NAME.conf or NAME.conf in another.
 */

/** A plugin to be started. */
export interface InstalledPlugin {
  /** Two digits, by which plugins are ordered. */
  readonly index: string;
  readonly name: string;
  readonly path: string;
  /** The text of its configuration, whatever that means to it; empty where there is none. */
  readonly configuration: string;
}

/** So many are started: about as many as may be connected in all. */
const PLUGIN_LIMIT = 16;
const CONFIGURATION_LIMIT_BYTES = 1024 * 1024;
const SHOWN_CHARACTERS = 200;
const FILE_NAME = /^([0-9]{2})-([A-Za-z0-9_.+-]{1,128})$/;

/**
 * The plugins in `directory`, ordered by file name; none where that is "" or not there. One that cannot be started is left
 * out, and the log says why: a plugin must not keep a node from its pods.
 */
export function installedPlugins(directory: string, configDirectory: string, log: Logger): InstalledPlugin[] {
  const plugins: InstalledPlugin[] = [];
  for (const file of filesIn(directory, log)) {
    const path = join(directory, file);
    const leaveOut = (why: string) =>
      log.warn(`the NRI plugin ${printable(path, SHOWN_CHARACTERS)} is not started: ${why}`);
    try {
      const status = statSync(path);
      if (!status.isFile() || (status.mode & 0o111) === 0) continue;
      const [, index, name] = FILE_NAME.exec(file) ?? [];
      if (index === undefined || name === undefined) {
        leaveOut("its name is not two digits, a hyphen, and 1 to 128 of letters, digits and _.+-");
      } else if (isWasm(path)) leaveOut("it is a WebAssembly module, which podrt does not run");
      else if (plugins.length === PLUGIN_LIMIT) leaveOut(`${PLUGIN_LIMIT} others come before it`);
      else plugins.push({ index, name, path, configuration: configurationOf(configDirectory, index, name) });
    } catch (error) {
      leaveOut(messageOf(error));
    }
  }
  return plugins;
}

function filesIn(directory: string, log: Logger): string[] {
  if (directory === "") return [];
  try {
    return namesIn(directory);
  } catch (error) {
    log.warn(`NRI plugins are not started: ${messageOf(error)}`);
    return [];
  }
}

/** The first of the two files that there is. */
function configurationOf(directory: string, index: string, name: string): string {
  if (directory === "") return "";
  for (const file of [`${index}-${name}.conf`, `${name}.conf`]) {
    const path = join(directory, file);
    try {
      return readSmallFile(path, CONFIGURATION_LIMIT_BYTES);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        throw new Error(`its configuration ${path} cannot be read: ${messageOf(error)}`);
    }
  }
  return "";
}

/** Whether a file begins as modules of WebAssembly do (its core specification, binary format, modules). */
function isWasm(path: string): boolean {
  const beginning = Buffer.alloc(4);
  const file = openSync(path, "r");
  try {
    readSync(file, beginning);
  } finally {
    closeSync(file);
  }
  return beginning.toString("latin1") === "\0asm";
}
