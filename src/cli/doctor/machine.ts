// SPDX-License-Identifier: Apache-2.0
import { existsSync, statfsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { release } from "node:os";
import { dirname } from "node:path";
import type { Config } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import { ALL_CAPABILITIES, daemonCapabilities } from "../../linux/capability.ts";
import { detectCgroups } from "../../linux/cgroup/host.ts";
import { procText } from "../../linux/proc-file.ts";
import { checkSubnets, findLink } from "../../network/bridge-link.ts";
import { parseSubnets } from "../../network/subnet.ts";
import type { Paths } from "../../paths.ts";
import { size } from "../human.ts";
import { checkKernel } from "../kernel-check.ts";
import { check, type Finding, failure, ok, warning } from "./finding.ts";
import { firewall, nameServer } from "./firewall.ts";

type Found = Omit<Finding, "area" | "check">;

/** Looks at what pods need of the machine. Nothing is changed. */
export async function checkMachine(paths: Paths, config: Config, isRunning: boolean): Promise<Finding[]> {
  const looked = await Promise.all([
    check("machine", "kernel", kernel),
    check("machine", "privileges", privileges),
    check("machine", "cgroups", cgroups),
    check("machine", "modules", modules),
    check("machine", "sysctls", sysctls),
    check("machine", "firewall", () => firewall(config)),
    check("machine", "name server", () => nameServer(paths, config, isRunning)),
    check("machine", "disk", () => disk(paths)),
    check("machine", "subnet", () => subnets(config)),
    check("machine", "ports", () => ports(config, isRunning)),
    check("machine", "clock", () => clock(paths)),
    check("machine", "security", securityModules),
    check("machine", "runtimes", otherRuntimes),
  ]);
  return looked.flat();
}

function kernel(): Found[] {
  try {
    checkKernel();
    return [ok(`Linux ${release()} has what podrt needs`)];
  } catch (error) {
    return [failure(messageOf(error), "run a newer kernel, or load what is missing")];
  }
}

function privileges(): Found[] {
  if (process.geteuid?.() !== 0) return [failure("this is not root", "run podrt as root")];
  const has = daemonCapabilities();
  const lacking = [...ALL_CAPABILITIES].filter((name) => !has.has(name));
  if (lacking.length === 0) return [ok("root with every capability")];
  const text = `root without ${lacking.join(", ")}: no container can have them either`;
  return [
    has.has("SYS_ADMIN")
      ? warning(text, "run podrt outside of a container")
      : failure(text, "run podrt outside of a container, or in a privileged one"),
  ];
}

const NEEDED_CONTROLLERS = ["cpu", "memory", "pids"];

function cgroups(): Found[] {
  const host = detectCgroups();
  const lacking = NEEDED_CONTROLLERS.filter((name) => !host.controllers.includes(name));
  const text = `${host.version}, with ${host.controllers.join(", ")}`;
  if (lacking.length === 0) return [ok(text)];
  return [
    failure(
      `${text}: without ${lacking.join(" and ")}, limits of that kind are refused`,
      "enable them on the kernel's command line (cgroup_enable=memory), or in cgroup.subtree_control of the parents",
    ),
  ];
}

const MODULES = ["bridge", "veth", "nf_tables", "nft_masq", "overlay"];

/** A part of the kernel is built in, loaded, or can be loaded when it is asked for. */
function modules(): Found[] {
  const directory = `/lib/modules/${release()}`;
  const builtIn = procText(`${directory}/modules.builtin`);
  const loadable = procText(`${directory}/modules.dep`);
  const has = (name: string) =>
    existsSync(`/sys/module/${name}`) ||
    named(builtIn, name) ||
    named(loadable, name) ||
    procText("/proc/filesystems").includes(`\t${name}\n`);
  const lacking = MODULES.filter((name) => !has(name));
  if (lacking.length === 0) return [ok(`${MODULES.join(", ")} are there`)];
  if (builtIn === "" && loadable === "") {
    return [
      ok(`${lacking.join(", ")}: cannot be told, since ${directory} is not there; they may be built in`),
    ];
  }
  return [
    warning(
      `the kernel has no ${lacking.join(", ")}`,
      "install the kernel's package of further modules; without them pods have no network of podrt's own",
    ),
  ];
}

function named(list: string, name: string): boolean {
  return new RegExp(`/${name.replaceAll("_", "[-_]")}\\.ko`).test(list);
}

const LEAST: readonly (readonly [path: string, least: number, what: string])[] = [
  ["user/max_net_namespaces", 64, "pods"],
  ["user/max_mnt_namespaces", 128, "containers"],
  ["user/max_pid_namespaces", 128, "containers"],
  ["user/max_user_namespaces", 16, "pods with hostUsers: false"],
  ["kernel/pid_max", 4096, "processes"],
  ["fs/mount-max", 1000, "mounts of a container"],
];

function sysctls(): Found[] {
  const low = LEAST.flatMap(([path, least, what]) => {
    const value = procText(`/proc/sys/${path}`).trim();
    const name = path.replaceAll("/", ".");
    return value === "" || Number(value) >= least
      ? []
      : [warning(`${name} is ${value}, which allows few ${what}`, `sysctl -w ${name}=${least * 64}`)];
  });
  const forward = procText("/proc/sys/net/ipv4/ip_forward").trim();
  const text =
    forward === "1"
      ? "the machine forwards packets"
      : "the machine does not forward packets; podrt lets it with its first pod";
  return [...low, ok(text)];
}

const GIB = 2 ** 30;

function disk(paths: Paths): Found[] {
  return [paths.stateDir, paths.runDir].flatMap((wanted) => {
    const path = existing(wanted);
    const { bsize, bavail, blocks, ffree, files } = statfsSync(path);
    const free = bavail * bsize;
    const share = blocks === 0 ? 1 : bavail / blocks;
    const inodes = files === 0 ? 1 : ffree / files;
    const text = `${wanted} has ${size(free)} free (${Math.round(share * 100)} %)${files === 0 ? "" : ` and ${Math.round(inodes * 100)} % of its inodes`}`;
    const advice = "free some space, or remove images that nothing uses";
    if (share < 0.01 || inodes < 0.01) return [failure(text, advice)];
    // A run directory is small; what it needs is little.
    const isLow = wanted === paths.stateDir && free < GIB;
    return [isLow || share < 0.05 || inodes < 0.05 ? warning(text, advice) : ok(text)];
  });
}

function existing(path: string): string {
  return existsSync(path) || path === "/" ? path : existing(dirname(path));
}

/** The same look as before the first pod: whether the subnets are free, and IPv6 there where it is asked for. */
async function subnets({ network }: Config): Promise<Found[]> {
  const { bridge, mtu } = network;
  try {
    const own = await findLink(bridge);
    await checkSubnets({ bridge, mtu, subnets: parseSubnets(network.subnets) }, own?.index);
    return [ok(`${network.subnets.join(" and ")} can be used for pods`)];
  } catch (error) {
    return [failure(messageOf(error), "choose another network.subnet in podrt's configuration")];
  }
}

async function ports({ streaming, metrics }: Config, isRunning: boolean): Promise<Found[]> {
  if (isRunning) return [ok("the daemon has those that it needs")];
  const wanted = [
    ["streaming", streaming.address, streaming.port],
    ["metrics", metrics.address, metrics.port ?? 0],
  ] as const;
  const fixed = wanted.filter(([, , port]) => port !== 0);
  const found = await Promise.all(
    fixed.map(async ([what, address, port]) =>
      (await isFree(address, port))
        ? ok(`port ${port} for ${what} is free`)
        : failure(
            `port ${port} for ${what} is taken`,
            `stop what listens there (ss -ltnp), or set another ${what}.port`,
          ),
    ),
  );
  return found.length === 0 ? [ok("none is fixed in the configuration")] : found;
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}

const DAY_MS = 86_400_000;
/** Before this version there was none: an earlier clock is wrong, and no certificate of a registry valid yet. */
const EARLIEST_MS = Date.UTC(2026, 0, 1);

function clock({ database }: Paths): Found[] {
  const now = Date.now();
  const written = statSync(database, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const shown = new Date(now).toISOString();
  const advice = "set the clock (timedatectl set-ntp true): certificates and ages go by it";
  if (now < EARLIEST_MS) return [failure(`it is ${shown} by the clock, which cannot be`, advice)];
  if (written > now + DAY_MS)
    return [
      warning(`podrt's records were written later than it is now, ${shown}: the clock was set back`, advice),
    ];
  return [ok(`it is ${shown}`)];
}

function securityModules(): Found[] {
  const active = procText("/sys/kernel/security/lsm").trim().split(",").filter(Boolean);
  const found: Found[] = [
    ok(active.length === 0 ? "no list of security modules" : `active: ${active.join(", ")}`),
  ];
  const isAppArmor = procText("/sys/module/apparmor/parameters/enabled").trim() === "Y";
  if (isAppArmor && Bun.which("apparmor_parser", { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" }) === null) {
    found.push(
      warning(
        "AppArmor is on and apparmor_parser is not installed: containers that name no profile run unconfined by it",
        "install the package apparmor",
      ),
    );
  }
  return found;
}

const OTHERS: readonly (readonly [name: string, socket: string])[] = [
  ["containerd", "/run/containerd/containerd.sock"],
  ["CRI-O", "/var/run/crio/crio.sock"],
  ["Docker", "/var/run/docker.sock"],
];

function otherRuntimes(): Found[] {
  const present = OTHERS.filter(([, socket]) => existsSync(socket)).map(([name]) => name);
  if (present.length === 0) return [ok("no other runtime's socket is there")];
  return [
    ok(
      `${present.join(" and ")} runs beside it: each has containers of its own, and a kubelet must be told which to use`,
    ),
  ];
}
