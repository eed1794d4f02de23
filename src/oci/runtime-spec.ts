// SPDX-License-Identifier: Apache-2.0
import type { IoPriorityClass, RlimitName } from "../linux/abi/resource.ts";
import type { DeviceRule } from "../linux/cgroup/device-rules.ts";

/**
 * The part of the OCI runtime configuration (runtime-spec, config.md and config-linux.md) that podrt
 * writes: what a container is to be, with everything resolved. `launch/container-program.ts`
 * compiles it; verbose status shows it.
 */
export interface RuntimeSpec {
  readonly ociVersion: string;
  readonly process: RuntimeProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname?: string;
  readonly mounts: readonly RuntimeMount[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly linux: RuntimeLinux;
}

export interface RuntimeProcess {
  readonly terminal: boolean;
  readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] };
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: RuntimeCapabilities;
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj?: number;
  /** Limits of setrlimit(2), by names as in `RLIMIT_NOFILE`. */
  readonly rlimits?: readonly RuntimeRlimit[];
  readonly ioPriority?: RuntimeIoPriority;
  /** Name of a profile of AppArmor's; absent for an unconfined process. */
  readonly apparmorProfile?: string;
  /** SELinux context; absent where SELinux is off, or the policy decides. */
  readonly selinuxLabel?: string;
}

export interface RuntimeRlimit {
  readonly type: RlimitName;
  /** In decimal, since 64 bits pass what JSON numbers hold exactly; the highest stands for none. */
  readonly soft: string;
  readonly hard: string;
}

/** As ioprio_set(2) takes it. */
export interface RuntimeIoPriority {
  readonly class: IoPriorityClass;
  /** 0 is the highest, 7 the lowest. */
  readonly priority: number;
}

/** Each a list of names as in `CAP_CHOWN`. */
export interface RuntimeCapabilities {
  readonly bounding: readonly string[];
  readonly effective: readonly string[];
  readonly permitted: readonly string[];
  readonly inheritable: readonly string[];
  readonly ambient: readonly string[];
}

export interface RuntimeMount {
  /** Absolute path in the container. */
  readonly destination: string;
  /** A file system type, or `bind`. */
  readonly type: string;
  readonly source: string;
  /** Flags (`ro`, `nosuid`, `rbind`, `rprivate`, …) and file system options (`size=64m`, …). */
  readonly options: readonly string[];
  /** For a bind that is to show ids other than its file system's; both are given or none. */
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
}

/** `size` ids of a user namespace from `containerID` on are the host's from `hostID` on. */
export interface IdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export interface RuntimeDevice {
  readonly path: string;
  readonly type: "c" | "b";
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface RuntimeLinux {
  /** A namespace without a path is new; one with a path is joined. */
  readonly namespaces: readonly { readonly type: NamespaceType; readonly path?: string }[];
  /** What the user namespace maps, where there is one. */
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
  readonly devices: readonly RuntimeDevice[];
  /** How the root mount exchanges mounts with others; absent for not at all. */
  readonly rootfsPropagation?: RootPropagation;
  readonly cgroupsPath: string;
  /** The record keeps devices and pids alone: the other limits change, and stand in the container's configuration. */
  readonly resources: RuntimeResources & { readonly devices?: readonly DeviceRule[] };
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly seccomp?: RuntimeSeccomp;
  /** SELinux context of what is mounted for the container; absent where SELinux is off. */
  readonly mountLabel?: string;
  readonly sysctl?: Readonly<Record<string, string>>;
}

/** Limits; what is absent is not limited. Memory in bytes, `swap` being memory and swap together; times in microseconds. */
export interface RuntimeResources {
  readonly memory?: { readonly limit?: number; readonly swap?: number };
  readonly cpu?: {
    readonly shares?: number;
    readonly quota?: number;
    readonly period?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  /** Processes and threads. */
  readonly pids?: { readonly limit: number };
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  /** Files of cgroup v2 with what is written to them. */
  readonly unified?: Readonly<Record<string, string>>;
}

/** A seccomp profile of a file of the host's: where it was read, and its text as it was then. */
export interface RuntimeSeccomp {
  readonly path: string;
  readonly text: string;
}
export type RootPropagation = "slave" | "shared";

export type NamespaceType = "mount" | "pid" | "network" | "ipc" | "uts" | "cgroup" | "user";
