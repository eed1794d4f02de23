// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { dirname, join } from "node:path";
import { parse } from "smol-toml";
import * as v from "valibot";
import { InvalidArgumentError, messageOf } from "./errors.ts";
import { printable } from "./lib/foreign-text.ts";
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from "./lib/logger.ts";
import { formatReference, parseReference } from "./oci/reference.ts";
import type { Paths } from "./paths.ts";
import { isSliceName } from "./systemd/unit-name.ts";

function isLoopback(address: string): boolean {
  return address === "::1" || (isIPv4(address) && address.startsWith("127."));
}

const milliseconds = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(86_400_000));

const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));

const registrySchema = v.strictObject({
  /** Base addresses tried in order before the registry itself, as in `http://127.0.0.1:5000`. */
  mirrors: v.optional(v.array(v.pipe(v.string(), v.url())), []),
  /** Speak http to the registry itself. */
  plain_http: v.optional(v.boolean(), false),
});

/** An image reference, answered in its normal form: with host, path and tag or digest. */
const reference = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    try {
      return formatReference(parseReference(dataset.value, ""));
    } catch (error) {
      addIssue({ message: messageOf(error) });
      return NEVER;
    }
  }),
);
const prefix = v.pipe(
  v.string(),
  v.regex(/^[^*\s]+\*$/, "is no image reference, nor the beginning of some and *"),
);

const subnet = v.pipe(
  v.string(),
  v.regex(/^[0-9A-Fa-f.:]+\/\d+$/, "is no subnet as in 10.85.0.0/16 or fd00:85::/64"),
);

const isOneOrTwo = (list: string[]) => list.length === 1 || list.length === 2;

const absolutePath = v.pipe(v.string(), v.regex(/^\/[^\0]*$/, "is no absolute path"));

const configSchema = v.strictObject({
  network: v.optional(
    v.strictObject({
      bridge: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(15))),
      /** One, or a list of one of each family, of which the first is the primary. */
      subnet: v.optional(
        v.union([
          subnet,
          v.pipe(v.array(subnet), v.check(isOneOrTwo, "is no list of one subnet of each family at most")),
        ]),
      ),
      mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1280), v.maxValue(65_535)), 1500),
      masquerade: v.optional(v.boolean(), true),
      /** Where configurations for CNI plugins are, whose network pods then get; empty for podrt's own always. */
      cni_conf_dir: v.optional(v.pipe(v.string(), v.regex(/^(\/[^\0]*)?$/, "is no absolute path"))),
      /** Pods wait for such a configuration; podrt's own network is never used. */
      cni_required: v.optional(v.boolean(), false),
      cni_plugin_dirs: v.optional(
        v.pipe(
          v.array(v.pipe(v.string(), v.regex(/^\/[^\0:]*$/, "is no absolute path without a colon"))),
          v.minLength(1),
          v.maxLength(16),
        ),
        ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"],
      ),
      /** A plugin that takes longer is killed. */
      cni_timeout_ms: v.optional(v.pipe(milliseconds, v.minValue(100)), 60_000),
    }),
    {},
  ),
  registries: v.optional(v.record(v.string(), registrySchema), {}),
  image: v.optional(
    v.strictObject({
      max_concurrent_downloads: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(64)), 3),
      /** A registry that sends nothing for so long is given up. */
      stall_timeout_ms: v.optional(milliseconds, 30_000),
      /** Its entrypoint is run in each pod in place of the built-in pause. */
      sandbox_image: v.optional(reference),
      /** Which servers are asked for the images of which registry: `HOST/hosts.toml`, as containerd has it. */
      certs_dir: v.optional(absolutePath),
      /** Credentials for registries, as docker login and podman login write them. */
      auth_file: v.optional(absolutePath),
      /** Images that a kubelet must not collect: references, or how they begin followed by `*`. */
      pinned: v.optional(v.array(v.union([prefix, reference])), []),
    }),
    {},
  ),
  /** Runtime handlers that a pod may ask for besides podrt itself, by name. */
  runtimes: v.optional(
    v.record(
      v.pipe(
        v.string(),
        v.regex(/^(?!podrt$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "is no name of a handler, or taken"),
      ),
      v.strictObject({
        /** A program with the command line of runc, which gets containers as OCI bundles. */
        type: v.literal("oci"),
        path: absolutePath,
      }),
    ),
    {},
  ),
  pods: v.optional(
    v.strictObject({
      /** First wait before a container of `podrt run` is started again; doubles up to the maximum. */
      restart_backoff_ms: v.optional(milliseconds, 10_000),
      restart_backoff_max_ms: v.optional(milliseconds, 300_000),
      /** Directory of manifests whose pods are kept as long as their files are there, as a kubelet's static pods are. */
      manifest_dir: v.optional(absolutePath),
    }),
    {},
  ),
  cdi: v.optional(
    v.strictObject({
      /** Directories with descriptions of devices; of two with the same device, the later counts. */
      spec_dirs: v.optional(v.pipe(v.array(absolutePath), v.maxLength(16)), ["/etc/cdi", "/var/run/cdi"]),
    }),
    {},
  ),
  streaming: v.optional(
    v.strictObject({
      /** Where the URLs of Exec, Attach and PortForward are served: unencrypted, so on loopback only. */
      address: v.optional(
        v.pipe(v.string(), v.check(isLoopback, "is no loopback address as 127.0.0.1 or ::1")),
        "127.0.0.1",
      ),
      /** 0 for any that is free. */
      port: v.optional(port, 0),
    }),
    {},
  ),
  nri: v.optional(
    v.strictObject({
      /** Let plugins of the Node Resource Interface connect. */
      enabled: v.optional(v.boolean(), false),
      socket: v.optional(v.pipe(v.string(), v.regex(/^\/[^\0]*$/, "is no absolute path"))),
      /** Plugins that podrt starts, and their configurations; "" for none. */
      plugin_path: v.optional(v.union([v.literal(""), absolutePath])),
      plugin_config_path: v.optional(v.union([v.literal(""), absolutePath])),
      /** A plugin that has not registered by then is sent away. */
      registration_timeout_ms: v.optional(v.pipe(milliseconds, v.minValue(1)), 5000),
      /** A plugin that has not answered by then is dropped. */
      request_timeout_ms: v.optional(v.pipe(milliseconds, v.minValue(1)), 2000),
    }),
    {},
  ),
  checkpoint: v.optional(
    v.strictObject({
      /** The program that freezes and restores processes; looked for in the usual directories unless told. */
      criu: v.optional(absolutePath),
    }),
    {},
  ),
  metrics: v.optional(
    v.strictObject({
      /** Where Prometheus may read: unencrypted and to anybody, so on loopback only unless `any_address` is set. */
      address: v.optional(v.pipe(v.string(), v.ip("is no IP address")), "127.0.0.1"),
      /** Nothing is served unless it is set; 0 for any that is free. */
      port: v.optional(port),
      any_address: v.optional(v.boolean(), false),
    }),
    {},
  ),
  log: v.optional(
    v.strictObject({
      level: v.optional(v.picklist(LOG_LEVELS), "info"),
      format: v.optional(v.picklist(LOG_FORMATS), "json"),
    }),
    {},
  ),
  cgroup: v.optional(
    v.strictObject({
      /** Who makes the cgroups of pods: podrt itself, or systemd, as scopes in slices. The kubelet adopts it. */
      driver: v.optional(v.picklist(["cgroupfs", "systemd"]), "cgroupfs"),
      /** With the driver systemd, the slice of pods whose caller names none. */
      slice: v.optional(v.pipe(v.string(), v.check(isSliceName, "is no name of a slice, as podrt.slice is"))),
      /** The cgroup below which podrt puts pods whose caller names no parent. */
      parent: v.optional(v.pipe(v.string(), v.regex(/^\/[^\0]*$/, "is no absolute cgroup path"))),
      /** Processes and threads of one container, where its pod's cgroup has no limit; -1 for none. */
      pids_limit: v.optional(
        v.pipe(
          v.number(),
          v.integer(),
          v.check((limit) => limit === -1 || limit > 0, "must be -1 or more than 0"),
        ),
        4096,
      ),
    }),
    {},
  ),
});

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

/** Reads the configuration of an instance; a missing file means all defaults. */
export function loadConfig(paths: Paths, file = paths.configFile): Config {
  let text = "";
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || file !== paths.configFile) {
      throw new InvalidArgumentError("", `cannot read the configuration ${file}: ${messageOf(error)}`);
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
    throw new InvalidArgumentError("", `${file} is not TOML: ${messageOf(error).split("\n")[0]}`);
  }
  const result = v.safeParse(configSchema, document);
  if (!result.success) {
    const issue = result.issues[0];
    const problem = `${v.getDotPath(issue) ?? "document"}: ${issue.message}`;
    throw new InvalidArgumentError("", `${file}: ${printable(problem, 1000)}`);
  }
  const {
    network,
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
