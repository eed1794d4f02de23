// SPDX-License-Identifier: Apache-2.0
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Daemon } from "./daemon.ts";

/** One execution of a plugin of the tests. */
export interface PluginCall {
  readonly plugin: string;
  readonly command: string;
  readonly netns: string;
  readonly interfaceName: string;
  readonly containerId: string;
  readonly args: string;
  readonly path: string;
  readonly variables: readonly string[];
  readonly pid: number;
  readonly conf: Record<string, unknown>;
}

/** Plugins that note how they are called, and behave as they are told; they touch nothing of the machine. */
export interface PluginDirectory extends Disposable {
  readonly directory: string;
  /** Makes a plugin; its answer to ADD is `result`. */
  install(name: string, result?: object): void;
  /** What the plugin does first at this command, in words of the shell; undefined for nothing any more. */
  behave(name: string, command: string, line: string | undefined): void;
  calls(): PluginCall[];
  forget(): void;
}

export function addressResult(...addresses: readonly string[]): object {
  return {
    cniVersion: "1.0.0",
    interfaces: [{ name: "veth1" }, { name: "eth0", sandbox: "/somewhere" }],
    ips: addresses.map((address) => ({ address, interface: 1 })),
  };
}

export function newPluginDirectory(): PluginDirectory {
  const directory = mkdtempSync(join(tmpdir(), "podrt-cni-"));
  const log = join(directory, "calls");
  return {
    directory,
    install(name, result = addressResult("192.0.2.7/24")) {
      const answers = join(directory, `${name}.result`);
      writeFileSync(answers, JSON.stringify(result));
      const versions = '{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}';
      // One line for each call, written at once: several may run at the same time.
      const script = `#!/bin/sh
conf=$(cat)
printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' ${name} "$CNI_COMMAND" "$CNI_NETNS" "$CNI_IFNAME" \\
  "$CNI_CONTAINERID" "$CNI_ARGS" "$CNI_PATH" "$(env | cut -d= -f1 | sort | tr '\\n' ' ')" $$ "$conf" >>${log}
behaviour=${directory}/${name}.$CNI_COMMAND
[ ! -e $behaviour ] || . $behaviour
case $CNI_COMMAND in
  VERSION) echo '${versions}' ;;
  ADD) cat ${answers} ;;
esac
`;
      writeFileSync(join(directory, name), script);
      chmodSync(join(directory, name), 0o755);
    },
    behave(name, command, line) {
      const file = join(directory, `${name}.${command}`);
      if (line === undefined) return rmSync(file, { force: true });
      writeFileSync(`${file}.new`, `${line}\n`);
      renameSync(`${file}.new`, file);
    },
    calls() {
      const text = existsSync(log) ? readFileSync(log, "utf8") : "";
      return text.split("\n").slice(0, -1).map(parseCall);
    },
    forget: () => writeFileSync(log, ""),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

function parseCall(line: string): PluginCall {
  const [plugin, command, netns, interfaceName, containerId, args, path, variables, pid, conf] =
    line.split("\t");
  return {
    plugin: plugin!,
    command: command!,
    netns: netns!,
    interfaceName: interfaceName!,
    containerId: containerId!,
    args: args!,
    path: path!,
    variables: variables!.trim().split(" "),
    pid: Number(pid),
    conf: JSON.parse(conf!) as Record<string, unknown>,
  };
}

/** The text of a file in the daemon's directory of network configurations; undefined takes the file away. */
export function configureNetwork(
  daemon: Pick<Daemon, "root">,
  file: string,
  content: string | object | undefined,
): void {
  const directory = join(daemon.root, "cni/net.d");
  mkdirSync(directory, { recursive: true });
  const path = join(directory, file);
  if (content === undefined) {
    rmSync(path, { force: true });
    return;
  }
  // Written beside and renamed, as whoever installs a network does it.
  writeFileSync(`${path}.new`, typeof content === "string" ? content : JSON.stringify(content));
  renameSync(`${path}.new`, path);
}
