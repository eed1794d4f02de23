// SPDX-License-Identifier: Apache-2.0
import {
  type DNSConfig,
  type LinuxPodSandboxConfig,
  NamespaceMode,
  type PodSandboxConfig,
  type PortMapping,
} from "../gen/runtime/v1/api_pb.ts";
import {
  checkAddress,
  checkInteger,
  checkLabels,
  checkName,
  checkNotEmpty,
  checkOptionalAbsolutePath,
  checkPath,
  checkPrintable,
  invalid,
  required,
  shown,
  unsupported,
} from "./validate-fields.ts";
import { checkResources } from "./validate-resources.ts";
import { checkSandboxSecurity } from "./validate-security.ts";

/** HOST_NAME_MAX (linux/limits.h). */
const MAX_HOST_NAME_BYTES = 64;
const MAX_PORT = 65_535;
const MAX_PORT_MAPPINGS = 4096;
const MAX_DNS_ENTRIES = 64;
/** procfs takes at most a page in one write (proc(5)). */
const MAX_SYSCTL_BYTES = 4095;

/** Checks everything of a sandbox's configuration that needs no look at the machine. */
export function checkSandboxConfig(path: string, config: PodSandboxConfig): void {
  const metadata = required(`${path}.metadata`, config.metadata);
  checkName(`${path}.metadata.name`, metadata.name);
  checkName(`${path}.metadata.namespace`, metadata.namespace);
  checkName(`${path}.metadata.uid`, metadata.uid);
  checkHostName(`${path}.hostname`, config.hostname);
  checkOptionalAbsolutePath(`${path}.log_directory`, config.logDirectory);
  if (config.dnsConfig !== undefined) checkDns(`${path}.dns_config`, config.dnsConfig);
  const network = config.linux?.securityContext?.namespaceOptions?.network;
  checkPortMappings(`${path}.port_mappings`, config.portMappings, network === NamespaceMode.NODE);
  checkLabels(path, config);
  if (config.windows !== undefined) unsupported(`${path}.windows`, "Windows pods are");
  if (config.linux !== undefined) checkLinux(`${path}.linux`, config.linux);
}

function checkHostName(path: string, hostname: string): void {
  if (hostname === "") return;
  if (Buffer.byteLength(hostname) > MAX_HOST_NAME_BYTES) {
    invalid(path, `must not exceed ${MAX_HOST_NAME_BYTES} bytes`);
  }
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(hostname)) {
    invalid(path, `must be made of letters, digits, "-", "_" and ".", but is ${shown(hostname)}`);
  }
}

function checkDns(path: string, dns: DNSConfig): void {
  for (const field of ["servers", "searches", "options"] as const) {
    if (dns[field].length > MAX_DNS_ENTRIES) {
      invalid(`${path}.${field}`, `must not have more than ${MAX_DNS_ENTRIES} entries`);
    }
  }
  for (const [index, server] of dns.servers.entries()) checkAddress(`${path}.servers[${index}]`, server);
  // Each becomes one word of a line in resolv.conf.
  for (const [index, search] of dns.searches.entries()) checkWord(`${path}.searches[${index}]`, search);
  for (const [index, option] of dns.options.entries()) checkWord(`${path}.options[${index}]`, option);
}

function checkWord(path: string, word: string): void {
  checkNotEmpty(path, word);
  checkPrintable(path, word);
  if (/\s/.test(word)) invalid(path, `must not contain spaces, but is ${shown(word)}`);
}

/** A pod in the host's network has its ports there already: what maps them is checked, and asks for nothing. */
function checkPortMappings(path: string, mappings: readonly PortMapping[], isHostNetwork: boolean): void {
  if (mappings.length > MAX_PORT_MAPPINGS) {
    invalid(path, `must not have more than ${MAX_PORT_MAPPINGS} entries`);
  }
  const taken = new Map<string, number>();
  for (const [index, mapping] of mappings.entries()) {
    const at = `${path}[${index}]`;
    checkInteger(`${at}.host_port`, mapping.hostPort, 0, MAX_PORT);
    // Without a host port an entry asks for nothing.
    checkInteger(`${at}.container_port`, mapping.containerPort, mapping.hostPort > 0 ? 1 : 0, MAX_PORT);
    if (mapping.hostIp !== "") checkAddress(`${at}.host_ip`, mapping.hostIp);
    if (mapping.hostPort === 0 || isHostNetwork) continue;
    const key = `${mapping.protocol} ${mapping.hostIp} ${mapping.hostPort}`;
    const first = taken.get(key);
    if (first !== undefined)
      invalid(`${at}.host_port`, `${mapping.hostPort} is already mapped by entry ${first}`);
    taken.set(key, index);
  }
}

function checkLinux(path: string, linux: LinuxPodSandboxConfig): void {
  // A path or the name of a slice: which of them it has to be is up to the cgroup driver.
  checkPath(`${path}.cgroup_parent`, linux.cgroupParent);
  if (linux.securityContext !== undefined) {
    checkSandboxSecurity(`${path}.security_context`, linux.securityContext);
  }
  for (const [name, value] of Object.entries(linux.sysctls)) {
    checkSysctl(`${path}.sysctls[${name}]`, name, value, linux);
  }
  if (linux.overhead !== undefined) checkResources(`${path}.overhead`, linux.overhead);
  if (linux.resources !== undefined) checkResources(`${path}.resources`, linux.resources);
}

/** Only what the kernel keeps per network or IPC namespace may be set, and only in namespaces of the pod. */
function checkSysctl(path: string, name: string, value: string, linux: LinuxPodSandboxConfig): void {
  const words = name.split(/[./]/);
  if (!/^[A-Za-z0-9_./-]+$/.test(name) || words.includes("")) invalid(path, "is no name of a kernel setting");
  const options = linux.securityContext?.namespaceOptions;
  if (words[0] === "net" && words.length > 1) {
    if (options?.network === NamespaceMode.NODE) {
      invalid(path, "would change the host: the pod uses the host's network namespace");
    }
  } else if (isIpcSetting(words)) {
    if (options?.ipc === NamespaceMode.NODE) {
      invalid(path, "would change the host: the pod uses the host's IPC namespace");
    }
  } else {
    invalid(
      path,
      "is not kept per pod by the kernel; net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* are",
    );
  }
  checkPrintable(path, value);
  if (Buffer.byteLength(value) > MAX_SYSCTL_BYTES) invalid(path, `must not exceed ${MAX_SYSCTL_BYTES} bytes`);
}

function isIpcSetting(words: readonly string[]): boolean {
  if (words[0] === "fs" && words[1] === "mqueue") return words.length === 3;
  return words[0] === "kernel" && words.length === 2 && /^(shm|msg|sem$|sem_next_id$)/.test(words[1]!);
}
