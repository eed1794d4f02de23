// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf, runCommand } from "../integration/harness/command.ts";

/** Another low-level runtime that starts the same container, to compare with. */
export interface OciRuntime extends AsyncDisposable {
  readonly name: string;
  readonly version: string;
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
  const version = await runCommand(name, ["--version"]).catch(() => undefined);
  if (version === undefined) return undefined;
  const bundle = mkdtempSync(join(tmpdir(), `podrt-bench-${name}-`));
  for (const dir of ["rootfs", "upper", "work", "state"]) mkdirSync(join(bundle, dir));
  writeFileSync(join(bundle, "config.json"), JSON.stringify(bundleSpec(podrtSpec as Spec, bundle, name)));
  const layers = `lowerdir=${layerDirs.join(":")},upperdir=${bundle}/upper,workdir=${bundle}/work`;
  await outputOf("mount", ["-t", "overlay", "overlay", "-o", layers, join(bundle, "rootfs")]);
  const dispose = async () => {
    await runCommand(name, ["--root", join(bundle, "state"), "delete", "--force", containerId]);
    await outputOf("umount", [join(bundle, "rootfs")]);
    rmSync(bundle, { recursive: true });
    removeGroups(name);
  };
  try {
    const options = await workingOptions(name, bundle);
    const command = ["--root", join(bundle, "state"), ...options];
    return {
      name,
      version: [version.stdout.split("\n")[0]!.replace(/^\w+ version /, ""), ...options].join(" "),
      run: () =>
        startDetached(name, [...command, "run", "--detach", "--bundle", bundle, containerId], bundle),
      remove: async () => void (await outputOf(name, [...command, "delete", "--force", containerId])),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** crun refuses the hybrid of cgroup v1 and v2; there it is measured without cgroups, which only helps it. */
async function workingOptions(name: string, bundle: string): Promise<string[]> {
  const state = ["--root", join(bundle, "state")];
  for (const options of [[], ["--cgroup-manager=disabled"]]) {
    const run = [...state, ...options, "run", "--detach", "--bundle", bundle, containerId];
    const problem = await startDetached(name, run, bundle).then(
      () => "",
      (error: Error) => error.message,
    );
    await runCommand(name, [...state, ...options, "delete", "--force", containerId]);
    if (problem === "") return options;
    if (!problem.includes("cgroups in hybrid mode not supported")) throw new Error(problem);
  }
  throw new Error(`${name} cannot start the container`);
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

/** Runs a command whose child keeps its streams: these go to a file, so that nobody waits for their end. */
async function startDetached(program: string, args: readonly string[], bundle: string): Promise<void> {
  const errors = Bun.file(join(bundle, "errors"));
  const command = Bun.spawn([program, ...args], { stdin: "ignore", stdout: "ignore", stderr: errors });
  if ((await command.exited) !== 0) throw new Error(`${program} ${args.join(" ")}: ${await errors.text()}`);
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
