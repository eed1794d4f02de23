// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { extname, join } from "node:path";
import { messageOf } from "../errors.ts";
import { namesIn } from "../lib/directory.ts";
import { readSmallFile } from "../lib/small-file.ts";
import { type NetworkConf, parseList, parseSingle } from "./conf.ts";

/** Far more than any machine has networks for; what comes after in the order of names is not looked at. */
const FILES_LIMIT = 256;
const FILE_LIMIT_BYTES = 1024 * 1024;
const EXTENSIONS = [".conflist", ".conf", ".json"];

/** What the directory says. The same object as before, as long as no file of it has changed. */
export interface ConfiguredNetwork {
  /** True where there is a file of configuration, good or bad: then pods are not in podrt's own network. */
  readonly isConfigured: boolean;
  /** The network of the first file, in the order of their names, that can be read. */
  readonly network?: { readonly file: string; readonly conf: NetworkConf };
  /** What is wrong with files before that one, each in one sentence. */
  readonly problems: readonly string[];
}

/** The configuration directory of a machine, such as /etc/cni/net.d. */
export interface NetworkDirectory {
  /**
   * Looks whether a file has come, gone or changed, by the names and times alone, and reads them again if so: some
   * calls of stat(2), so that nobody has to watch the directory, which may not even exist yet.
   */
  read(): ConfiguredNetwork;
}

const NOTHING: ConfiguredNetwork = { isConfigured: false, problems: [] };

/** `onChange` hears of each state other than the one before; without a path there never is a network. */
export function openNetworkDirectory(
  path: string,
  onChange: (state: ConfiguredNetwork) => void,
): NetworkDirectory {
  let known = NOTHING;
  let mark = "";
  return {
    read() {
      if (path === "") return NOTHING;
      const found = fingerprint(path, known.network?.conf.name);
      if (found === mark) return known;
      known = readAll(path);
      // The files beside a list are known by its name only now.
      mark = fingerprint(path, known.network?.conf.name);
      onChange(known);
      return known;
    },
  };
}

function readAll(directory: string): ConfiguredNetwork {
  let files: string[];
  try {
    files = filesIn(directory, EXTENSIONS);
  } catch (error) {
    return { isConfigured: true, problems: [`${directory} cannot be read: ${messageOf(error)}`] };
  }
  const problems: string[] = [];
  for (const file of files) {
    try {
      const text = readSmallFile(file, FILE_LIMIT_BYTES);
      const beside = (name: string) => filesIn(join(directory, name), [".conf"]).map(withText);
      const conf = extname(file) === ".conflist" ? parseList(text, beside) : parseSingle(text);
      return { isConfigured: true, network: { file, conf }, problems };
    } catch (error) {
      problems.push(`${file}: ${messageOf(error)}`);
    }
  }
  return { isConfigured: files.length > 0, problems };
}

function withText(file: string): { file: string; text: string } {
  return { file, text: readSmallFile(file, FILE_LIMIT_BYTES) };
}

/** Sorted; none where there is no such directory. */
function filesIn(directory: string, extensions: readonly string[]): string[] {
  return namesIn(directory)
    .filter((name) => extensions.includes(extname(name)))
    .map((name) => join(directory, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isDirectory() === false)
    .slice(0, FILES_LIMIT);
}

function fingerprint(directory: string, network: string | undefined): string {
  try {
    const beside = network === undefined ? [] : filesIn(join(directory, network), [".conf"]);
    return [...filesIn(directory, EXTENSIONS), ...beside].map(stateOf).join("\n");
  } catch (error) {
    return messageOf(error);
  }
}

function stateOf(file: string): string {
  const status = statSync(file, { bigint: true, throwIfNoEntry: false });
  return `${file} ${status?.ino} ${status?.size} ${status?.mtimeNs} ${status?.ctimeNs}`;
}
