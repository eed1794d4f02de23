// SPDX-License-Identifier: Apache-2.0
import { dirname, join } from "node:path";
import { parse, TomlError } from "smol-toml";
import * as v from "valibot";
import { problemWords } from "./config/problem-words.ts";
import { configSchema, isLoopback } from "./config/schema.ts";
import { InvalidArgumentError, messageOf } from "./errors.ts";
import { printable } from "./lib/foreign-text.ts";
import type { LogFormat, LogLevel } from "./lib/logger.ts";
import { readSmallFile } from "./lib/small-file.ts";
import type { Paths } from "./paths.ts";

const FILE_LIMIT_BYTES = 1024 * 1024;

/** The configuration with every default filled in. */
export interface Config {
  readonly network: {
    readonly bridge: string;
    /** One, or one of each family; the primary first. */
    readonly subnets: readonly string[];
    /** No subnet is configured, so one that the cluster gives to this node is taken. */
    readonly followsPodCidr: boolean;
    readonly mtu: number;
    readonly masquerade: boolean;
    /** nftables table that holds the masquerade and hostPort rules. */
    readonly table: string;
    /** Unset for the instance's own directory. */
    readonly cniConfDir?: string | undefined;
    readonly cniRequired: boolean;
    readonly cniPluginDirs: readonly string[];
    readonly cniTimeoutMs: number;
  };
  readonly dns: { readonly enabled: boolean; readonly upstreams?: readonly string[] | undefined };
  readonly registries: Readonly<
    Record<string, { readonly mirrors: readonly string[]; readonly plain_http: boolean }>
  >;
  readonly image: {
    readonly max_concurrent_downloads: number;
    readonly stall_timeout_ms: number;
    readonly sandbox_image?: string | undefined;
    readonly certs_dir: string;
    readonly auth_file: string;
    readonly pinned: readonly string[];
  };
  readonly runtimes: Readonly<Record<string, { readonly type: "oci"; readonly path: string }>>;
  readonly pods: {
    readonly restart_backoff_ms: number;
    readonly restart_backoff_max_ms: number;
    readonly manifest_dir?: string | undefined;
  };
  readonly cdi: { readonly spec_dirs: readonly string[] };
  readonly streaming: { readonly address: string; readonly port: number };
  readonly nri: {
    readonly enabled: boolean;
    /** Unless told /var/run/nri/nri.sock, or with `--root DIR` DIR/run/nri.sock. */
    readonly socket?: string | undefined;
    /** "" for none. */
    readonly plugin_path: string;
    readonly plugin_config_path: string;
    readonly registration_timeout_ms: number;
    readonly request_timeout_ms: number;
  };
  readonly checkpoint: { readonly criu?: string | undefined };
  /** Served where a port is set. */
  readonly metrics: { readonly address: string; readonly port?: number | undefined };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  readonly cgroup: {
    readonly driver: "cgroupfs" | "systemd";
    readonly parent: string;
    readonly slice: string;
    readonly pids_limit: number;
  };
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file; check --config",
  ENOTDIR: "what it is said to be in is no directory; check --root and --config",
  EISDIR: "it is a directory; name the file in it with --config",
};

/** Reads the configuration of an instance; a missing file means all defaults. */
export function loadConfig(paths: Paths, file = paths.configFile): Config {
  let text = "";
  try {
    text = readSmallFile(file, FILE_LIMIT_BYTES);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || file !== paths.configFile) {
      const { code } = error as NodeJS.ErrnoException;
      const why = UNREADABLE[code ?? ""] ?? messageOf(error);
      throw new InvalidArgumentError("", `cannot read the configuration ${file}: ${why}`);
    }
  }
  return parseConfig(text, paths.instance, file, dirname(paths.configFile));
}

/** Checks the text of a configuration file and fills in what it leaves out; `directory` has what lies beside it. */
export function parseConfig(text: string, instance: string, file: string, directory = dirname(file)): Config {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    const at = error instanceof TomlError ? ` in line ${error.line}, column ${error.column}` : "";
    const [why = ""] = messageOf(error)
      .replace(/^Invalid TOML document: /, "")
      .split("\n");
    throw new InvalidArgumentError("", `${file} is not TOML${at}: ${why}`);
  }
  const result = v.safeParse(configSchema, document);
  if (!result.success) {
    const issue = result.issues[0];
    const problem = `${v.getDotPath(issue) ?? "document"}: ${problemWords(issue)}`;
    throw new InvalidArgumentError("", `${file}: ${printable(problem, 1000)}`);
  }
  const {
    network,
    dns,
    registries,
    image,
    runtimes,
    pods,
    cdi,
    streaming,
    nri,
    checkpoint,
    metrics,
    log,
    cgroup,
  } = result.output;
  if (!isLoopback(metrics.address) && !metrics.any_address) {
    throw new InvalidArgumentError(
      "",
      `${file}: metrics.address: ${metrics.address} is no loopback address; set metrics.any_address where others may read it`,
    );
  }
  const otherDrivers = cgroup.driver === "systemd" ? "parent" : "slice";
  if (cgroup[otherDrivers] !== undefined) {
    throw new InvalidArgumentError(
      "",
      `${file}: cgroup.${otherDrivers}: has no meaning with cgroup.driver = "${cgroup.driver}"`,
    );
  }
  const suffix = instance === "" ? "" : `-${instance}`;
  return {
    network: {
      bridge: network.bridge ?? (instance === "" ? "podrt0" : `prt${instance}`),
      subnets: [network.subnet ?? defaultSubnet(instance)].flat(),
      followsPodCidr: network.subnet === undefined,
      mtu: network.mtu,
      masquerade: network.masquerade,
      table: `podrt${suffix.replace("-", "_")}`,
      cniConfDir: network.cni_conf_dir,
      cniRequired: network.cni_required,
      cniPluginDirs: network.cni_plugin_dirs,
      cniTimeoutMs: network.cni_timeout_ms,
    },
    dns,
    registries,
    image: {
      ...image,
      certs_dir: image.certs_dir ?? join(directory, "certs.d"),
      auth_file: image.auth_file ?? join(directory, "auth.json"),
    },
    runtimes,
    pods,
    cdi,
    streaming,
    nri: {
      ...nri,
      plugin_path: nri.plugin_path ?? (instance === "" ? "/opt/nri/plugins" : join(directory, "nri/plugins")),
      plugin_config_path:
        nri.plugin_config_path ?? (instance === "" ? "/etc/nri/conf.d" : join(directory, "nri/conf.d")),
    },
    checkpoint,
    metrics: { address: metrics.address, port: metrics.port },
    log,
    cgroup: {
      driver: cgroup.driver,
      parent: cgroup.parent ?? `/podrt${suffix}`,
      slice: cgroup.slice ?? `podrt${suffix}.slice`,
      pids_limit: cgroup.pids_limit,
    },
  };
}

/** Instances below a directory of their own get one of 2,048 subnets of 4,094 addresses, by their name. */
function defaultSubnet(instance: string): string {
  if (instance === "") return "10.85.0.0/16";
  const hash = Number.parseInt(instance, 16);
  return `10.${128 + ((hash >>> 4) & 0x7f)}.${(hash & 0xf) << 4}.0/20`;
}
