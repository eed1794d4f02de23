// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf, runCommand } from "../integration/harness/command.ts";

/** Another low-level runtime that starts the same container, to compare with. */
export interface OciRuntime extends AsyncDisposable {
  readonly name: string;
  readonly version: string;
  /** Its program, as the kernel names it when it is executed. */
  readonly program: string;
  /** Starts the container: `NAME run --detach`, which returns when the application runs. */
  run(): Promise<void>;
  /** Kills it and takes it away. */
  remove(): Promise<void>;
}

const containerId = `podrt-bench-${process.pid}`;

interface Spec {
  ociVersion: string;
  mounts: { destination: string; type: string; options: string[] }[];
  root: { path: string; readonly: boolean };
  hostname?: string;
  linux: { cgroupsPath: string; resources: object; devices: object[] };
}

/**
 * Prepares a runtime to start a container of podrt's again and again, from podrt's own specification of it.
 *
 * @param layerDir an unpacked layer, which becomes the lower directory of the root file system
 */
export async function prepareOciRuntime(
  name: string,
  podrtSpec: object,
  layerDirs: readonly string[],
): Promise<OciRuntime | undefined> {
  const program = Bun.which(name);
  if (program === null) return undefined;
  const bundle = mkdtempSync(join(tmpdir(), `podrt-bench-${name}-`));
  for (const dir of ["rootfs", "upper", "work", "state"]) mkdirSync(join(bundle, dir));
  writeFileSync(join(bundle, "config.json"), JSON.stringify(bundleSpec(podrtSpec as Spec, bundle, name)));
  const layers = `lowerdir=${layerDirs.join(":")},upperdir=${bundle}/upper,workdir=${bundle}/work`;
  await outputOf("mount", ["-t", "overlay", "overlay", "-o", layers, join(bundle, "rootfs")]);
  const namespace = name === "crun" ? await withoutUnifiedHierarchy() : undefined;
  const command = [...(namespace?.enter ?? []), program, "--root", join(bundle, "state")];
  const remove = async () => void (await runWords([...command, "delete", "--force", containerId]));
  return {
    name,
    program,
    version: (await outputOf(name, ["--version"])).split("\n")[0]!.replace(/^\w+ version /, ""),
    run: () => startDetached([...command, "run", "--detach", "--bundle", bundle, containerId], bundle),
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
async function startDetached(command: readonly string[], bundle: string): Promise<void> {
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
  const linux = { ...spec.linux, cgroupsPath, resources: {}, devices: [] };
  // The newest version that crun 1.8 knows.
  return {
    ...rest,
    ociVersion: "1.0.2",
    mounts,
    linux,
    root: { path: join(bundle, "rootfs"), readonly: false },
  };
}
