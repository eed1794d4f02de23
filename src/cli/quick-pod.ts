// SPDX-License-Identifier: Apache-2.0
import { posix } from "node:path";
import { UsageError } from "./usage-error.ts";

/** The options of `run IMAGE`, as people know them from docker and podman. */
export interface QuickOptions {
  readonly name?: string;
  readonly stdin?: boolean;
  readonly tty?: boolean;
  readonly publish?: readonly string[];
  readonly volume?: readonly string[];
  readonly env?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly entrypoint?: string;
  readonly memory?: string;
  readonly cpus?: string;
  readonly restart?: "no" | "always" | "on-failure";
  readonly readOnly?: boolean;
  readonly capAdd?: readonly string[];
  readonly capDrop?: readonly string[];
  readonly privileged?: boolean;
  readonly net?: string;
  readonly pull?: "always" | "missing" | "never";
}

/** A pod of one container, as a manifest. */
export interface QuickPod {
  /** JSON, which is YAML. */
  readonly manifest: string;
  /** What the options themselves ask of the machine: whoever types them allows it. */
  readonly permissions: readonly string[];
  readonly containerName: string;
}

const PULLS = { always: "Always", missing: "IfNotPresent", never: "Never" } as const;
const POLICIES = { no: "Never", always: "Always", "on-failure": "OnFailure" } as const;

/** The manifest that `run IMAGE [COMMAND...]` stands for; UsageError for an option that makes no sense. */
export function quickPod(
  image: string,
  command: readonly string[],
  options: QuickOptions,
  env: Readonly<Record<string, string | undefined>>,
): QuickPod {
  const name = nameOf(image);
  const volumes = (options.volume ?? []).map(volumeOf);
  const ports = (options.publish ?? []).map(portOf);
  const isOnHost = isHostNetwork(options.net);
  const claims = new Set(volumes.flatMap(({ claim }) => (claim === undefined ? [] : [claim])));
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: options.name === undefined ? { generateName: `${name}-` } : { name: options.name },
    spec: {
      restartPolicy: POLICIES[options.restart ?? "no"],
      terminationGracePeriodSeconds: 10,
      ...(isOnHost ? { hostNetwork: true } : {}),
      volumes: volumes.map(({ source }, index) => ({ name: `v${index}`, ...source })),
      containers: [
        {
          name,
          image,
          imagePullPolicy: PULLS[options.pull ?? "missing"],
          ...(options.entrypoint === undefined ? {} : { command: [options.entrypoint] }),
          ...(command.length === 0 ? {} : { args: [...command].map(literal) }),
          ...(options.stdin ? { stdin: true, stdinOnce: true } : {}),
          ...(options.tty ? { tty: true } : {}),
          ...(options.workdir === undefined ? {} : { workingDir: options.workdir }),
          env: (options.env ?? []).map((text) => variableOf(text, env)),
          ports,
          resources: limitsOf(options),
          securityContext: contextOf(options),
          volumeMounts: volumes.map(({ mountPath, readOnly }, index) => ({
            name: `v${index}`,
            mountPath,
            ...(readOnly ? { readOnly } : {}),
          })),
        },
      ],
    },
  };
  const documents = [...[...claims].map(claimNamed), pod];
  return {
    manifest: documents.map((document) => JSON.stringify(document)).join("\n---\n"),
    permissions: [
      ...volumes.flatMap(({ permission }) => (permission === undefined ? [] : [permission])),
      ...ports.filter(({ hostPort }) => hostPort < 1024).map(({ hostPort }) => `port=${hostPort}`),
      ...(options.capAdd ?? []).map((capability) => `cap=${capabilityName(capability)}`),
      ...(options.privileged ? ["privileged"] : []),
      ...(isOnHost ? ["host-network"] : []),
    ],
    containerName: name,
  };
}

/** The last part of the image's path, as the name of a container. */
export function nameOf(image: string): string {
  const last = image.split("@")[0]!.split("/").at(-1)!.split(":")[0]!;
  const plain = last
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);
  return plain === "" ? "container" : plain;
}

/** Manifests replace `$(NAME)`; on a command line a dollar is a dollar. */
function literal(word: string): string {
  return word.replaceAll("$", () => "$$");
}

function isHostNetwork(net: string | undefined): boolean {
  if (net === undefined || net === "pod" || net === "bridge") return false;
  if (net === "host") return true;
  throw new UsageError(
    `--net ${net} is neither host nor container:NAME; leave it out for a network of the pod's own`,
  );
}

/** `[IP:]HOST:CONTAINER[/PROTOCOL]`; an address of IPv6 stands in brackets. */
function portOf(text: string) {
  const match = /^(?:(\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const [, address, host, container, protocol = "tcp"] = match ?? [];
  if (match === null) {
    throw new UsageError(`--publish ${text} is not [ADDRESS:]HOST_PORT:PORT[/tcp|udp|sctp], as in 8080:80`);
  }
  return {
    containerPort: Number(container),
    hostPort: Number(host),
    protocol: protocol.toUpperCase(),
    ...(address === undefined ? {} : { hostIP: address.replace(/^\[|\]$/g, "") }),
  };
}

interface QuickVolume {
  readonly source: object;
  readonly mountPath: string;
  readonly readOnly: boolean;
  readonly permission?: string;
  readonly claim?: string;
}

/** `PATH:PLACE[:ro]` of the machine, `NAME:PLACE[:ro]` for a claim that stays, or `PLACE` for one of the pod's own. */
function volumeOf(text: string): QuickVolume {
  const parts = text.split(":");
  const readOnly = parts.at(-1) === "ro";
  const [source = "", place] = readOnly || parts.at(-1) === "rw" ? parts.slice(0, -1) : parts;
  const mountPath = place ?? source;
  if (parts.length > 3 || !mountPath.startsWith("/")) {
    throw new UsageError(`--volume ${text} is not SOURCE:PATH[:ro], as in /srv/data:/data:ro`);
  }
  if (place === undefined) return { source: { emptyDir: {} }, mountPath, readOnly };
  if (/^[./]/.test(source)) {
    const path = posix.resolve(source);
    const permission = `host-path=${path}${readOnly ? ":ro" : ""}`;
    return { source: { hostPath: { path } }, mountPath, readOnly, permission };
  }
  return { source: { persistentVolumeClaim: { claimName: source } }, mountPath, readOnly, claim: source };
}

function claimNamed(name: string) {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name },
    spec: { accessModes: ["ReadWriteOnce"] },
  };
}

/** `NAME=VALUE`, or `NAME` for the value that it has here. */
function variableOf(text: string, env: Readonly<Record<string, string | undefined>>) {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? env[name] : text.slice(equals + 1);
  if (value === undefined)
    throw new UsageError(`--env ${text}: there is no variable ${name} here; give it a value`);
  return { name, value: literal(value) };
}

function limitsOf({ memory, cpus }: QuickOptions) {
  const limits = {
    ...(memory === undefined ? {} : { memory: bytesOf(memory) }),
    ...(cpus === undefined ? {} : { cpu: cpus }),
  };
  return Object.keys(limits).length === 0 ? {} : { limits };
}

/** docker's `64m` means 64 MiB, where a quantity's `m` is a thousandth; Kubernetes's own units are taken too. */
function bytesOf(text: string): string {
  const match = /^(\d+)([bkmg])b?$/i.exec(text);
  if (match === null) return text;
  const unit = match[2]!.toLowerCase();
  return unit === "b" ? match[1]! : `${match[1]}${unit === "k" ? "Ki" : unit === "m" ? "Mi" : "Gi"}`;
}

function contextOf({ user, readOnly, capAdd, capDrop, privileged }: QuickOptions) {
  const [, uid, gid] = /^(\d+)(?::(\d+))?$/.exec(user ?? "") ?? [];
  if (user !== undefined && uid === undefined) {
    throw new UsageError(`--user ${user} is no number; give the user's number, as in 1000 or 1000:1000`);
  }
  const capabilities = {
    ...(capAdd === undefined ? {} : { add: capAdd.map(capabilityName) }),
    ...(capDrop === undefined ? {} : { drop: capDrop.map(capabilityName) }),
  };
  return {
    ...(uid === undefined ? {} : { runAsUser: Number(uid) }),
    ...(gid === undefined ? {} : { runAsGroup: Number(gid) }),
    ...(readOnly ? { readOnlyRootFilesystem: true } : {}),
    ...(privileged ? { privileged: true } : {}),
    ...(Object.keys(capabilities).length === 0 ? {} : { capabilities }),
  };
}

function capabilityName(text: string): string {
  return text.toUpperCase().replace(/^CAP_/, "");
}
