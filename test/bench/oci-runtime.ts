// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf, runCommand } from "../integration/harness/command.ts";
import { forgetPod, IDLE, preparePod, runPod, startContainer, stopPod } from "./pods.ts";
import type { Bench } from "./row.ts";

/** Another low-level runtime that starts the same container, to compare with. */
export interface OciRuntime extends AsyncDisposable {
  readonly name: string;
  readonly version: string;
  /** Starts the container: `NAME run --detach`, which returns when the application runs. */
  run(): Promise<void>;
  /** Runs `true` in the running container. */
  exec(): Promise<void>;
  /** Starts another container of `true` and waits for its end. */
  runToEnd(): Promise<void>;
  /** Kills it and takes it away. */
  remove(): Promise<void>;
}

const containerId = `podrt-bench-${process.pid}`;
const briefId = `${containerId}-brief`;

interface Seccomp {
  readonly syscalls: readonly { readonly args?: readonly SeccompArgument[] }[];
}

interface SeccompArgument {
  readonly value: string | number;
  readonly valueTwo?: string | number;
}

interface Spec {
  ociVersion: string;
  mounts: { destination: string; type: string; options: string[] }[];
  root: { path: string; readonly: boolean };
  hostname?: string;
  process: { args: readonly string[] };
  linux: { cgroupsPath: string; resources: object; devices: object[]; seccomp?: Seccomp };
}

/**
 * Prepares a runtime to start a container of podrt's again and again, from podrt's own specification of it.
 *
 * @param layerDir an unpacked layer, which becomes the lower directory of the root file system
 */
async function prepareOciRuntime(
  name: string,
  podrtSpec: object,
  layerDirs: readonly string[],
): Promise<OciRuntime | undefined> {
  const program = Bun.which(name);
  if (program === null) return undefined;
  const bundle = mkdtempSync(join(tmpdir(), `podrt-bench-${name}-`));
  for (const dir of ["rootfs", "upper", "work", "state"]) mkdirSync(join(bundle, dir));
  const spec = bundleSpec(podrtSpec as Spec, bundle, name);
  const brief = { ...spec, process: { ...spec.process, args: ["true"] } };
  for (const [dir, content] of [
    [bundle, spec],
    [join(bundle, "brief"), brief],
  ] as const) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "config.json"), JSON.stringify(content));
  }
  const layers = `lowerdir=${layerDirs.join(":")},upperdir=${bundle}/upper,workdir=${bundle}/work`;
  await outputOf("mount", ["-t", "overlay", "overlay", "-o", layers, join(bundle, "rootfs")]);
  const namespace = name === "crun" ? await withoutUnifiedHierarchy() : undefined;
  const command = [...(namespace?.enter ?? []), program, "--root", join(bundle, "state")];
  const remove = async () => void (await runWords([...command, "delete", "--force", containerId]));
  return {
    name,
    version: (await outputOf(name, ["--version"])).split("\n")[0]!.replace(/^\w+ version /, ""),
    run: () => runDetached([...command, "run", "--detach", "--bundle", bundle, containerId], bundle),
    exec: () => runDetached([...command, "exec", containerId, "true"], bundle),
    runToEnd: () => runDetached([...command, "run", "--bundle", join(bundle, "brief"), briefId], bundle),
    remove,
    async [Symbol.asyncDispose]() {
      await remove();
      namespace?.end();
      await outputOf("umount", [join(bundle, "rootfs")]);
      rmSync(bundle, { recursive: true });
      removeGroups(name);
    },
  };
}

export interface BareRuntimes extends AsyncDisposable {
  readonly runtimes: readonly OciRuntime[];
}

/** Those that are installed, each with podrt's own specification of a container in a pod of podrt's. */
export async function openBareRuntimes({ podrt, addColumn }: Bench): Promise<BareRuntimes> {
  await using stack = new AsyncDisposableStack();
  const pod = await runPod(podrt, preparePod(podrt, "alone", "bridge"));
  stack.defer(async () => {
    await stopPod(podrt, pod);
    await forgetPod(podrt, pod);
  });
  const containerId = await startContainer(podrt, pod, "template", IDLE);
  const { info } = await podrt.api.containerStatus({ containerId, verbose: true });
  const { runtimeSpec } = JSON.parse(info["info"] ?? "{}") as { runtimeSpec: object };
  const layersDir = join(podrt.root, "lib/layers");
  const layers = readdirSync(layersDir).flatMap((name) => systemBelow(join(layersDir, name)) ?? []);
  if (layers.length === 0) throw new Error(`no layer below ${layersDir} has a shell`);
  const runtimes: OciRuntime[] = [];
  for (const name of ["runc", "crun"]) {
    const runtime = await prepareOciRuntime(name, runtimeSpec, layers);
    if (runtime === undefined) continue;
    addColumn(name, runtime.version);
    runtimes.push(stack.use(runtime));
  }
  const opened = stack.move();
  return { runtimes, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Where the files of a layer with a shell are: the directory itself, or the one inside it that holds them. */
function systemBelow(dir: string): string | undefined {
  const candidates = [dir, ...readdirSync(dir).map((name) => join(dir, name))];
  return candidates.find((candidate) => existsSync(join(candidate, "bin/sh")));
}

/** A command line as one array. */
function runWords([program, ...args]: readonly string[]) {
  return runCommand(program!, args);
}

interface MountNamespace {
  /** Put before a command to run it there. */
  readonly enter: readonly string[];
  end(): void;
}

/**
 * crun refuses machines that have cgroup v2 beside v1, so there it gets a mount namespace that shows v1 alone. What
 * entering it costs is not counted: time runs from the exec of crun.
 */
async function withoutUnifiedHierarchy(): Promise<MountNamespace | undefined> {
  const hybrid = "/sys/fs/cgroup/unified";
  if (!existsSync(hybrid)) return undefined;
  const holder = Bun.spawn([
    "unshare",
    "--mount",
    "sh",
    "-c",
    `umount ${hybrid} && echo ready && exec sleep 1800`,
  ]);
  const { value } = await holder.stdout.getReader().read();
  if (value === undefined) throw new Error(`cannot make a mount namespace without ${hybrid}`);
  return { enter: ["nsenter", `--mount=/proc/${holder.pid}/ns/mnt`], end: () => holder.kill("SIGKILL") };
}

/** Runs a command whose child keeps its streams: these go to a file, so that nobody waits for their end. */
async function runDetached(command: readonly string[], bundle: string): Promise<void> {
  const errors = Bun.file(join(bundle, "errors"));
  const running = Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: errors });
  if ((await running.exited) !== 0) throw new Error(`${command.join(" ")}: ${await errors.text()}`);
}

function removeGroups(name: string): void {
  for (const hierarchy of readdirSync("/sys/fs/cgroup")) {
    const group = join("/sys/fs/cgroup", hierarchy, cgroupOf(name));
    if (existsSync(group)) rmdirSync(group);
  }
}

function cgroupOf(name: string): string {
  return `podrt-bench-${name}-${process.pid}`;
}

/** The same process, mounts, namespaces and capabilities; a root and a cgroup of its own. */
function bundleSpec(spec: Spec, bundle: string, name: string): Spec {
  // The runtimes make the hierarchies of cgroup v1 below one mount themselves.
  const mounts = spec.mounts
    .filter(({ destination }) => !destination.startsWith("/sys/fs/cgroup/"))
    .map((mount) =>
      mount.destination === "/sys/fs/cgroup"
        ? { ...mount, type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "ro"] }
        : mount,
    );
  // The host name is the pod's, whose UTS namespace is joined.
  const { hostname: _, ...rest } = spec;
  const cgroupsPath = `/${cgroupOf(name)}/app`;
  // Both make and allow the usual devices by themselves.
  const seccomp = spec.linux.seccomp && withNumbers(spec.linux.seccomp);
  const linux = { ...spec.linux, cgroupsPath, resources: {}, devices: [], ...(seccomp && { seccomp }) };
  // The newest version that crun 1.8 knows.
  return {
    ...rest,
    ociVersion: "1.0.2",
    mounts,
    linux,
    root: { path: join(bundle, "rootfs"), readonly: false },
  };
}

/** The CRI's verbose answer has 64-bit numbers as text, which no runtime reads; those of the profile are small. */
function withNumbers({ syscalls, ...rest }: Seccomp): Seccomp {
  const number = ({ value, valueTwo = 0, ...more }: SeccompArgument) => ({
    ...more,
    value: Number(value),
    valueTwo: Number(valueTwo),
  });
  return {
    ...rest,
    syscalls: syscalls.map((rule) => (rule.args ? { ...rule, args: rule.args.map(number) } : rule)),
  };
}
