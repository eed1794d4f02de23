// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { type CommandOptions, type CommandResult, runCommand } from "../integration/harness/command.ts";
import { eventually } from "../integration/harness/eventually.ts";
import { makeCgroups, removeCgroups, takeSysctls } from "./machine.ts";
import { type RunningProgram, startProgram } from "./program.ts";
import { unmountBelow } from "./unmount.ts";

/** The node's address, of the network namespace that run.ts makes. */
export const nodeAddress = "192.0.2.1";
export const nodeName = "node";
/** Whether the kubelet is to hear of its containers by the runtime's events, instead of by asking each second. */
export const hasEventedPleg = process.env["EVENTED"] === "1";
const apiServer = "https://127.0.0.1:6443";
const token = "of-nobody-else";

/** One node: an API server with its store, and a kubelet that runs its pods by the runtime at a socket. */
export interface Cluster {
  /** Manifests in it are static pods. */
  readonly manifestsDir: string;
  readonly podLogsDir: string;
  /** The cgroup that the kubelet keeps pods below, from the root of each hierarchy. */
  readonly cgroupRoot: string;
  /** Runs kubectl, which must succeed; answers its output. */
  kubectl(...args: readonly string[]): Promise<string>;
  kubectlResult(...args: readonly string[]): Promise<CommandResult>;
  kubectlWith(options: CommandOptions, ...args: readonly string[]): Promise<CommandResult>;
  /** What a web server of the pod answers through `kubectl port-forward`. */
  forwarded(pod: string, port: number): Promise<string>;
  /** Creates what the manifest holds. */
  apply(manifest: object): Promise<void>;
  /** A pod as the API server has it; fails when there is none. */
  pod(name: string): Promise<Pod>;
  stopKubelet(): Promise<void>;
  /** Starts it and waits until the node is ready; `more` is of its configuration, for this time. */
  startKubelet(more?: object): Promise<void>;
  /** The last lines of what the kubelet said. */
  kubeletSaid(): string;
  close(): Promise<void>;
}

/** What is read here of a v1.Pod. */
export interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly qosClass?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly ephemeralContainerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly containerID?: string;
  readonly restartCount: number;
  readonly ready: boolean;
  readonly started?: boolean;
  readonly resources?: { readonly limits?: Readonly<Record<string, string>> };
  readonly state: ContainerStates;
  readonly lastState: ContainerStates;
}

interface ContainerStates {
  readonly running?: { readonly startedAt: string };
  readonly waiting?: { readonly reason: string };
  readonly terminated?: { readonly exitCode: number; readonly reason: string; readonly message?: string };
}

/** Starts everything but the runtime, whose socket is given, and waits until the node is ready. */
export async function startCluster(runtimeSocket: string): Promise<Cluster> {
  const dir = mkdtempSync(join(tmpdir(), "podrt-node-"));
  const cgroupRoot = `/${basename(dir)}`;
  const podLogsDir = join(dir, "pod-logs");
  const manifestsDir = join(dir, "manifests");
  for (const path of [podLogsDir, manifestsDir]) mkdirSync(path);
  const settings = writeSettings({ dir, cgroupRoot, podLogsDir, manifestsDir, runtimeSocket });
  const sysctls = takeSysctls();
  makeCgroups(cgroupRoot);
  const programs: RunningProgram[] = [];
  let kubelet: RunningProgram | undefined;
  const kubectlProgram = join(buildDir, "bin/kubectl");
  const kubectlWith = (options: CommandOptions, ...args: readonly string[]) =>
    runCommand(kubectlProgram, ["--kubeconfig", settings.kubeconfig, ...args], {
      timeoutMs: 90_000,
      ...options,
    });
  const kubectlResult = (...args: readonly string[]) => kubectlWith({}, ...args);
  const kubectl = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await kubectlResult(...args);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")} exited with ${code}: ${stderr}${stdout}`);
    return stdout;
  };
  const startKubelet = async (more: object = {}) => {
    writeFileSync(settings.kubeletConfig, JSON.stringify({ ...settings.kubelet, ...more }));
    kubelet = startProgram(
      join(buildDir, "bin/kubelet"),
      [
        `--config=${settings.kubeletConfig}`,
        `--kubeconfig=${settings.kubeconfig}`,
        `--root-dir=${join(dir, "kubelet")}`,
        `--cert-dir=${join(dir, "kubelet-certificates")}`,
        `--hostname-override=${nodeName}`,
        `--node-ip=${nodeAddress}`,
        "--v=2",
      ],
      dir,
    );
    await eventually(
      "the node is ready",
      async () => (await nodeCondition(kubectl, "Ready")) === "True",
      90_000,
    );
  };
  const close = async () => {
    await kubelet?.stop();
    for (const program of programs.reverse()) await program.stop();
    for (const [file, value] of sysctls) writeFileSync(file, value);
    removeCgroups(cgroupRoot);
    await unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    programs.push(startProgram(join(buildDir, "bin/etcd"), settings.etcd, dir));
    programs.push(startProgram(join(buildDir, "bin/kube-apiserver"), settings.apiServer, dir));
    await eventually("the API server is ready", () => kubectl("get", "--raw", "/readyz"), 90_000);
    await startKubelet();
    await eventually("the namespace has its account", () => kubectl("get", "namespace", "default"), 30_000);
  } catch (error) {
    const said = [...programs, ...(kubelet === undefined ? [] : [kubelet])].map((program) => program.said());
    await close();
    throw new Error(`the cluster did not come up: ${error}\n${said.join("\n--\n")}`);
  }
  return {
    manifestsDir,
    podLogsDir,
    cgroupRoot,
    kubectl,
    kubectlResult,
    kubectlWith,
    forwarded: (pod, port) => askThrough(kubectlProgram, ["--kubeconfig", settings.kubeconfig], pod, port),
    async apply(manifest) {
      const file = join(dir, "manifest.json");
      writeFileSync(file, JSON.stringify(manifest));
      await kubectl("create", "-f", file);
    },
    pod: async (name) => JSON.parse(await kubectl("get", "pod", name, "-o", "json")) as Pod,
    async stopKubelet() {
      await kubelet?.stop();
      kubelet = undefined;
    },
    startKubelet,
    kubeletSaid: () => kubelet?.said() ?? "",
    close,
  };
}

async function askThrough(
  kubectl: string,
  args: readonly string[],
  pod: string,
  port: number,
): Promise<string> {
  const child = spawn(kubectl, [...args, "port-forward", `pod/${pod}`, `:${port}`], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
    });
    const local = await eventually("kubectl forwards", () => /127\.0\.0\.1:(\d+)/.exec(said)?.[1], 30_000);
    return await (await fetch(`http://127.0.0.1:${local}/`)).text();
  } finally {
    child.kill("SIGTERM");
  }
}

/** Whether the node has a condition, as `Ready`: True or False. */
export async function nodeCondition(kubectl: Cluster["kubectl"], type: string): Promise<string> {
  return kubectl("get", "node", nodeName, "-o", `jsonpath={.status.conditions[?(@.type=="${type}")].status}`);
}

interface Settings {
  readonly kubeconfig: string;
  readonly kubeletConfig: string;
  /** What is written there. */
  readonly kubelet: object;
  readonly etcd: readonly string[];
  readonly apiServer: readonly string[];
}

function writeSettings(places: {
  readonly dir: string;
  readonly cgroupRoot: string;
  readonly podLogsDir: string;
  readonly manifestsDir: string;
  readonly runtimeSocket: string;
}): Settings {
  const { dir } = places;
  const write = (name: string, content: string | object) => {
    const file = join(dir, name);
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
    return file;
  };
  const { publicKey, privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const accountKey = write("account.pub", publicKey);
  const accountSigningKey = write("account.key", privateKey);
  const kubeconfig = write("kubeconfig", {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "one", cluster: { server: apiServer, "insecure-skip-tls-verify": true } }],
    users: [{ name: "admin", user: { token } }],
    contexts: [{ name: "one", context: { cluster: "one", user: "admin" } }],
    "current-context": "one",
  });
  const etcd = ["client-urls", "peer-urls"].flatMap((kind, index) => {
    const url = `http://127.0.0.1:${2379 + index}`;
    const advertise = kind === "peer-urls" ? "initial-advertise-peer-urls" : "advertise-client-urls";
    return [`--listen-${kind}=${url}`, `--${advertise}=${url}`];
  });
  return {
    kubeconfig,
    kubeletConfig: join(dir, "kubelet.json"),
    kubelet: kubeletConfiguration(places, write("resolv.conf", "nameserver 192.0.2.53\n")),
    etcd: [
      ...etcd,
      `--data-dir=${join(dir, "etcd")}`,
      "--initial-cluster=default=http://127.0.0.1:2380",
      "--unsafe-no-fsync",
    ],
    apiServer: [
      "--etcd-servers=http://127.0.0.1:2379",
      "--bind-address=127.0.0.1",
      `--advertise-address=${nodeAddress}`,
      "--secure-port=6443",
      `--cert-dir=${join(dir, "certificates")}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      `--service-account-issuer=${apiServer}`,
      `--service-account-key-file=${accountKey}`,
      `--service-account-signing-key-file=${accountSigningKey}`,
      `--token-auth-file=${write("tokens.csv", `${token},admin,1,system:masters\n`)}`,
      "--authorization-mode=AlwaysAllow",
      "--disable-admission-plugins=ServiceAccount",
      "--allow-privileged=true",
      "--kubelet-preferred-address-types=InternalIP",
    ],
  };
}

function kubeletConfiguration(
  { dir, cgroupRoot, podLogsDir, manifestsDir, runtimeSocket }: Parameters<typeof writeSettings>[0],
  resolvConf: string,
): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    containerRuntimeEndpoint: `unix://${runtimeSocket}`,
    staticPodPath: manifestsDir,
    podLogsDir,
    volumePluginDir: join(dir, "volume-plugins"),
    resolvConf,
    address: nodeAddress,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    cgroupRoot,
    failSwapOn: false,
    failCgroupV1: false,
    makeIPTablesUtilChains: false,
    registerNode: true,
    nodeStatusUpdateFrequency: "2s",
    syncFrequency: "2s",
    fileCheckFrequency: "1s",
    containerLogMaxSize: "64Ki",
    containerLogMaxFiles: 3,
    containerLogMonitorInterval: "3s",
    imageMinimumGCAge: "1s",
    imageMaximumGCAge: "15s",
    evictionHard: { "memory.available": "1Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    featureGates: { PodAndContainerStatsFromCRI: true, EventedPLEG: hasEventedPleg },
    serializeImagePulls: false,
  };
}
