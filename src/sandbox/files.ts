// SPDX-License-Identifier: Apache-2.0
import { chownSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { podIdMappings } from "../container/user-namespace.ts";
import { FailedPreconditionError } from "../errors.ts";
import { type DNSConfig, NamespaceMode, type PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import { errnoName } from "../linux/abi/errno.ts";
import { MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID } from "../linux/abi/mount.ts";
import { labelPath } from "../linux/selinux.ts";
import { isErrno, syscall, trySyscall } from "../linux/syscall.ts";
import { hostRoot } from "../oci/id-mapping.ts";

/*
 * The run directory of a sandbox, root only. Its owner is the sandbox's record, its undo
 * `removeFiles`; the shared memory is the one mount that a pod has in the host's tree.
 *
 *   monitor.sock journal   launch/monitor.ts
 *   hosts hostname resolv.conf   bound into each container
 *   shm    tmpfs, bound on each container's /dev/shm
 *   netns  pin of the network namespace
 */
const SHM_OPTIONS = "mode=1777,size=65536k";

/** Makes the run directory with the files that containers share; `label` is theirs where SELinux is on. */
export function makeFiles(
  dir: string,
  config: PodSandboxConfig,
  hostname: string,
  label: string | undefined,
): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, "hostname"), `${hostname}\n`, { mode: 0o644 });
  if (config.dnsConfig === undefined) copyHostFile("/etc/resolv.conf", join(dir, "resolv.conf"));
  else writeFileSync(join(dir, "resolv.conf"), resolvConf(config.dnsConfig), { mode: 0o644 });
  writeHosts(dir, config, hostname, []);
  const mappings = podIdMappings(config);
  const owner = mappings && hostRoot(mappings);
  if (owner !== undefined) {
    for (const name of ["hostname", "resolv.conf", "hosts"]) chownSync(join(dir, name), owner.uid, owner.gid);
  }
  if (label !== undefined) {
    for (const name of ["hostname", "resolv.conf", "hosts"]) setLabel(join(dir, name), label);
  }
  const options = config.linux?.securityContext?.namespaceOptions;
  if (options?.ipc !== NamespaceMode.NODE) mountShm(join(dir, "shm"), owner, label);
}

/** Writes /etc/hosts once the addresses are known; a pod in the host's network has a copy of the host's. */
export function writeHosts(
  dir: string,
  config: PodSandboxConfig,
  hostname: string,
  addresses: readonly string[],
): void {
  const path = join(dir, "hosts");
  const options = config.linux?.securityContext?.namespaceOptions;
  if (options?.network === NamespaceMode.NODE) copyHostFile("/etc/hosts", path);
  else writeFileSync(path, hostsFile(hostname, addresses), { mode: 0o644 });
}

function hostsFile(hostname: string, addresses: readonly string[]): string {
  const lines = [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
    ...addresses.map((address) => `${address}\t${hostname}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Each line only where there is something to say; an empty configuration makes an empty file. */
export function resolvConf(dns: DNSConfig): string {
  const lines = [
    ...(dns.searches.length > 0 ? [`search ${dns.searches.join(" ")}`] : []),
    ...dns.servers.map((server) => `nameserver ${server}`),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(" ")}`] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function copyHostFile(source: string, target: string): void {
  if (existsSync(source)) copyFileSync(source, target);
  else writeFileSync(target, "", { mode: 0o644 });
}

function setLabel(path: string, label: string): void {
  const result = labelPath(path, label);
  if (result < 0)
    throw new FailedPreconditionError(`cannot label ${path} as ${label}: ${errnoName(-result)}`);
}

function mountShm(
  path: string,
  owner: { uid: number; gid: number } | undefined,
  label: string | undefined,
): void {
  mkdirSync(path, { mode: 0o755 });
  const options = [
    SHM_OPTIONS,
    ...(owner === undefined ? [] : [`uid=${owner.uid}`, `gid=${owner.gid}`]),
    // In quotes, since a level has commas of its own.
    ...(label === undefined ? [] : [`context="${label}"`]),
  ].join(",");
  const result = trySyscall("mount", "shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options);
  if (result < 0) {
    throw new FailedPreconditionError(
      `cannot mount the pod's shared memory on ${path}: ${errnoName(-result)}`,
    );
  }
}

/** Detaches the shared memory; fine when it is not there. */
export function unmountShm(dir: string): void {
  try {
    syscall("umount2", join(dir, "shm"), MNT_DETACH);
  } catch (error) {
    if (!isErrno(error, "EINVAL", "ENOENT")) throw error;
  }
}

/** Removes the run directory; its mounts and pins are to be gone. */
export function removeFiles(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}
