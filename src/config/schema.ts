// SPDX-License-Identifier: Apache-2.0
import { isIPv4 } from "node:net";
import * as v from "valibot";
import { messageOf } from "../errors.ts";
import { parseAddress } from "../lib/address.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../lib/logger.ts";
import { formatReference, parseReference } from "../oci/reference.ts";
import { isSliceName } from "../systemd/unit-name.ts";

/*
 * What config.toml may say. Each setting tells what it does; docs/configuration.md is made of that.
 */

/** What the page on configuration says of a setting besides its description. */
export interface SettingNotes {
  /** What values it takes, where bounds alone do not tell. */
  readonly takes?: string;
  /** What is done where it is left out, if that is no fixed value. */
  readonly unset?: string;
}

/** A setting with what it does. */
function setting<S extends v.GenericSchema>(schema: S, does: string, notes: SettingNotes = {}) {
  return v.pipe(schema, v.description(does), v.metadata({ ...notes }));
}

function section<E extends v.ObjectEntries>(does: string, entries: E) {
  return v.pipe(v.strictObject(entries), v.description(does));
}

export function isLoopback(address: string): boolean {
  return address === "::1" || (isIPv4(address) && address.startsWith("127."));
}

const whole = (from: number, to: number) => v.pipe(v.number(), v.integer(), v.minValue(from), v.maxValue(to));

const milliseconds = (from = 0) => whole(from, 86_400_000);

const port = whole(0, 65_535);

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
const PATH = { takes: "an absolute path" };
const PATH_OR_NONE = { takes: 'an absolute path, or ""' };

const network = section("The pods' own network, or that of CNI plugins.", {
  subnet: v.optional(
    setting(
      v.union([
        subnet,
        v.pipe(v.array(subnet), v.check(isOneOrTwo, "is no list of one subnet of each family at most")),
      ]),
      'Of the pods; the first address is the bridge\'s. `["10.85.0.0/16", "fd00:85::/64"]` gives each pod an address of both, ' +
        'the first of which is its primary; `"fd00:85::/64"` is IPv6 alone.',
      {
        takes: "a subnet, or a list of one of each family",
        unset: "`10.85.0.0/16`, or the pod CIDRs that a kubelet tells; with `--root DIR` one of DIR's own",
      },
    ),
  ),
  bridge: v.optional(
    setting(v.pipe(v.string(), v.minLength(1), v.maxLength(15)), "Name of the bridge.", {
      unset: "`podrt0`; with `--root DIR` one of DIR's own",
    }),
  ),
  mtu: v.optional(setting(whole(1280, 65_535), "Bytes of a packet between pods."), 1500),
  masquerade: v.optional(
    setting(v.boolean(), "What leaves the machine has the machine's address, not the pod's."),
    true,
  ),
  cni_conf_dir: v.optional(
    setting(
      v.pipe(v.string(), v.regex(/^(\/[^\0]*)?$/, "is no absolute path")),
      'With a configuration for CNI plugins here, pods get their network from those; `""` for podrt\'s own always.',
      { ...PATH_OR_NONE, unset: "`/etc/cni/net.d`; with `--root DIR` DIR/cni/net.d" },
    ),
  ),
  cni_required: v.optional(
    setting(
      v.boolean(),
      "Pods wait for such a configuration, as on nodes of a cluster, and are never in podrt's own network.",
    ),
    false,
  ),
  cni_plugin_dirs: v.optional(
    setting(
      v.pipe(
        v.array(v.pipe(v.string(), v.regex(/^\/[^\0:]*$/, "is no absolute path without a colon"))),
        v.minLength(1),
        v.maxLength(16),
      ),
      "Where the plugins are looked for, in this order.",
      { takes: "a list of absolute paths without a colon" },
    ),
    ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"],
  ),
  cni_timeout_ms: v.optional(setting(milliseconds(100), "A plugin that takes longer is killed."), 60_000),
});

const isUpstream = (text: string) => parseAddress(text, 53) !== undefined;

const dns = section("Names, for pods from manifests in podrt's own network.", {
  enabled: v.optional(setting(v.boolean(), "Answer the names of pods, and pass on those of others."), true),
  upstreams: v.optional(
    setting(
      v.pipe(
        v.array(
          v.pipe(
            v.string(),
            v.check(isUpstream, "is no address as in 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53"),
          ),
        ),
        v.maxLength(3),
      ),
      "Who is asked for all other names, one after the other.",
      {
        takes: "a list of three addresses at most, each perhaps with a port",
        unset: "the servers of `/etc/resolv.conf`",
      },
    ),
  ),
});

const registries = v.optional(
  v.pipe(
    v.record(
      v.string(),
      v.strictObject({
        mirrors: v.optional(
          setting(
            v.array(v.pipe(v.string(), v.url())),
            "Base addresses tried in order before the registry itself, as in `http://127.0.0.1:5000`.",
            { takes: "a list of URLs" },
          ),
          [],
        ),
        plain_http: v.optional(setting(v.boolean(), "Speak http to the registry itself."), false),
      }),
    ),
    v.description(
      'A registry by its host, as in `[registries."docker.io"]` or `[registries."registry.local:5000"]`.',
    ),
    v.metadata({ key: '"HOST"' }),
  ),
  {},
);

const image = section("Where images come from, and which stay.", {
  max_concurrent_downloads: v.optional(
    setting(whole(1, 64), "Layers of one pull that are fetched at once."),
    3,
  ),
  stall_timeout_ms: v.optional(
    setting(milliseconds(), "A registry that sends nothing for so long is given up."),
    30_000,
  ),
  sandbox_image: v.optional(
    setting(reference, "Its entrypoint is run in each pod in place of the built-in pause.", {
      takes: "an image reference",
      unset: "the built-in pause",
    }),
  ),
  certs_dir: v.optional(
    setting(
      absolutePath,
      "Which servers are asked for the images of which registry: `HOST/hosts.toml`, as containerd has it; " +
        "`/etc/containerd/certs.d` may be named here.",
      { ...PATH, unset: "`certs.d` beside the configuration" },
    ),
  ),
  auth_file: v.optional(
    setting(absolutePath, "Credentials for registries, as docker login and podman login write them.", {
      ...PATH,
      unset: "`auth.json` beside the configuration",
    }),
  ),
  pinned: v.optional(
    setting(v.array(v.union([prefix, reference])), "Images that a kubelet must not collect.", {
      takes: "a list of image references, or of how some begin followed by `*`",
    }),
    [],
  ),
});

const runtimes = v.optional(
  v.pipe(
    v.record(
      v.pipe(
        v.string(),
        v.regex(/^(?!podrt$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "is no name of a handler, or taken"),
      ),
      v.strictObject({
        type: setting(
          v.literal("oci"),
          "A program with the command line of runc, which gets containers as OCI bundles.",
        ),
        path: setting(absolutePath, "The program, as in `/usr/sbin/runc`, or crun's.", PATH),
      }),
    ),
    v.description(
      "A runtime handler, for pods that ask for it by name; podrt makes the containers of all others itself.",
    ),
    v.metadata({ key: "NAME" }),
  ),
  {},
);

const pods = section("The pods that podrt keeps itself, from manifests.", {
  restart_backoff_ms: v.optional(
    setting(milliseconds(), "First wait before a container is started again; doubles up to the maximum."),
    10_000,
  ),
  restart_backoff_max_ms: v.optional(setting(milliseconds(), "The longest such wait."), 300_000),
  manifest_dir: v.optional(
    setting(
      absolutePath,
      "Directory of manifests whose pods are kept as long as their files are there, as a kubelet's static pods are.",
      { ...PATH, unset: "none" },
    ),
  ),
});

const cdi = section("Devices described by the Container Device Interface.", {
  spec_dirs: v.optional(
    setting(
      v.pipe(v.array(absolutePath), v.maxLength(16)),
      "Directories with descriptions of devices; of two with the same device, the later counts.",
      { takes: "a list of absolute paths" },
    ),
    ["/etc/cdi", "/var/run/cdi"],
  ),
});

const streaming = section("Where exec, attach and port-forward of the CRI are served.", {
  address: v.optional(
    setting(
      v.pipe(v.string(), v.check(isLoopback, "is no loopback address as 127.0.0.1 or ::1")),
      "Where their URLs lead: unencrypted, so on loopback only.",
      { takes: "a loopback address" },
    ),
    "127.0.0.1",
  ),
  port: v.optional(setting(port, "0 for any that is free."), 0),
});

const nri = section("Plugins of the Node Resource Interface.", {
  enabled: v.optional(
    setting(v.boolean(), "Let plugins connect, and start those that are installed."),
    false,
  ),
  socket: v.optional(
    setting(absolutePath, "Where they connect.", {
      ...PATH,
      unset: "`/var/run/nri/nri.sock`; with `--root DIR` DIR/run/nri.sock",
    }),
  ),
  plugin_path: v.optional(
    setting(
      v.union([v.literal(""), absolutePath]),
      'Executables `INDEX-NAME` that podrt starts; `""` for none.',
      { ...PATH_OR_NONE, unset: "`/opt/nri/plugins`; with `--root DIR` DIR/nri/plugins" },
    ),
  ),
  plugin_config_path: v.optional(
    setting(v.union([v.literal(""), absolutePath]), "Their `INDEX-NAME.conf` or `NAME.conf`.", {
      ...PATH_OR_NONE,
      unset: "`/etc/nri/conf.d`; with `--root DIR` DIR/nri/conf.d",
    }),
  ),
  registration_timeout_ms: v.optional(
    setting(milliseconds(1), "A plugin that has not registered by then is sent away."),
    5000,
  ),
  request_timeout_ms: v.optional(
    setting(milliseconds(1), "A plugin that has not answered by then is dropped."),
    2000,
  ),
});

const checkpoint = section("Checkpoints and restores.", {
  criu: v.optional(
    setting(absolutePath, "The program that freezes and restores processes.", {
      ...PATH,
      unset: "looked for in the usual directories",
    }),
  ),
});

const metrics = section("What Prometheus may read, at `/metrics`.", {
  address: v.optional(
    setting(
      v.pipe(v.string(), v.ip("is no IP address")),
      "Unencrypted and to anybody, so a loopback address unless `any_address` is set.",
      { takes: "an IP address" },
    ),
    "127.0.0.1",
  ),
  port: v.optional(setting(port, "0 for any that is free.", { unset: "nothing is served" })),
  any_address: v.optional(setting(v.boolean(), "Let others than this machine read."), false),
});

const log = section("The log, on stderr.", {
  level: v.optional(setting(v.picklist(LOG_LEVELS), "`PODRT_LOG` goes before it."), "info"),
  format: v.optional(setting(v.picklist(LOG_FORMATS), "How each line is written."), "json"),
});

const cgroup = section("The control groups of pods.", {
  driver: v.optional(
    setting(
      v.picklist(["cgroupfs", "systemd"]),
      "Who makes them: podrt itself, or systemd, as scopes in slices, on cgroup v2 only. The kubelet adopts it.",
    ),
    "cgroupfs",
  ),
  slice: v.optional(
    setting(
      v.pipe(v.string(), v.check(isSliceName, "is no name of a slice, as podrt.slice is")),
      "With the driver systemd, the slice of pods whose caller names none.",
      { takes: "the name of a slice", unset: "`podrt.slice`; with `--root DIR` one of DIR's own" },
    ),
  ),
  parent: v.optional(
    setting(
      v.pipe(v.string(), v.regex(/^\/[^\0]*$/, "is no absolute cgroup path")),
      "With the driver cgroupfs, the cgroup below which podrt puts pods whose caller names no parent.",
      { takes: "an absolute path of a cgroup", unset: "`/podrt`; with `--root DIR` one of DIR's own" },
    ),
  ),
  pids_limit: v.optional(
    setting(
      v.pipe(
        v.number(),
        v.integer(),
        v.check((limit) => limit === -1 || limit > 0, "must be -1 or more than 0"),
      ),
      "Processes and threads of one container; not where the pod's cgroup has a limit, as a kubelet's `podPidsLimit` sets.",
      { takes: "a whole number above 0, or -1 for none" },
    ),
    4096,
  ),
});

export const configSchema = v.strictObject({
  network: v.optional(network, {}),
  dns: v.optional(dns, {}),
  registries,
  image: v.optional(image, {}),
  runtimes,
  pods: v.optional(pods, {}),
  streaming: v.optional(streaming, {}),
  cdi: v.optional(cdi, {}),
  nri: v.optional(nri, {}),
  checkpoint: v.optional(checkpoint, {}),
  cgroup: v.optional(cgroup, {}),
  metrics: v.optional(metrics, {}),
  log: v.optional(log, {}),
});
