// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError, FailedPreconditionError, InternalError, messageOf } from "../errors.ts";
import { DEFAULT_PATH, findExecutable } from "../lib/executable.ts";
import { oneLine } from "../lib/foreign-text.ts";
import { runPlugin } from "./exec.ts";
import { parseError } from "./result.ts";

export type CniCommand = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC" | "VERSION";

/** Where plugins are, and how long each may take. */
export interface PluginPlace {
  /** Searched in order; plugins that run others find them there too. */
  readonly directories: readonly string[];
  /** For ADD and DEL; ten seconds at most for the others. */
  readonly timeoutMs: number;
}

/** One plugin of a network asked to do one thing. */
export interface PluginCall {
  readonly network: string;
  readonly type: string;
  readonly command: CniCommand;
  readonly conf: object;
  /** CNI_CONTAINERID and the like. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** Of what is only asked, or looked after beside the pods: nobody should have to wait for it. */
const QUICK_MS = 10_000;
const QUOTE_LIMIT_CHARACTERS = 1000;

/**
 * Executes a plugin and answers what it printed. Its failure, of whatever kind, is one sentence that names
 * network, plugin and command, and the code, message and details of the plugin's own error.
 */
export async function callPlugin(place: PluginPlace, call: PluginCall): Promise<string> {
  const { network, type, command, conf, parameters } = call;
  const what = `network ${network}: ${command} by plugin ${type}`;
  const program = findPlugin(place, network, type);
  const environment = {
    PATH: DEFAULT_PATH,
    CNI_COMMAND: command,
    CNI_PATH: place.directories.join(":"),
    ...parameters,
  };
  const stdin = JSON.stringify(conf);
  const isWork = command === "ADD" || command === "DEL";
  const timeoutMs = isWork ? place.timeoutMs : Math.min(place.timeoutMs, QUICK_MS);
  const { failure, stdout, stderr } = await runPlugin({
    program,
    environment,
    stdin,
    timeoutMs,
  }).catch((cause) => {
    const sentence = `${what}: ${messageOf(cause)}`;
    if (cause instanceof DeadlineExceededError) throw new DeadlineExceededError(sentence, { cause });
    throw new InternalError(sentence, { cause });
  });
  if (failure === undefined) return stdout;
  const error = parseError(stdout);
  if (error !== undefined) {
    const details = error.details === "" ? "" : ` (${quote(error.details)})`;
    throw new InternalError(`${what} failed with code ${error.code}: ${quote(error.msg)}${details}`);
  }
  const said = quote(stderr) || quote(stdout) || "it said nothing";
  throw new InternalError(`${what} failed with ${failure}: ${said}`);
}

/** The executable of that name in the first directory that has one. */
export function findPlugin({ directories }: PluginPlace, network: string, type: string): string {
  const found = findExecutable(directories, type);
  if (found !== undefined) return found;
  throw new FailedPreconditionError(
    `network ${network}: plugin ${type} is in none of ${directories.join(", ")}; install it or set network.cni_plugin_dirs`,
  );
}

function quote(text: string): string {
  return oneLine(text, QUOTE_LIMIT_CHARACTERS);
}
