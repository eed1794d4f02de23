// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import {
  ContainerStatusSchema,
  ImageSchema,
  PodSandboxStatusSchema,
} from "../../../src/gen/runtime/v1/api_pb.ts";
import type { Daemon } from "./daemon.ts";
import { instanceOf } from "./leftovers.ts";
import { procText } from "./proc.ts";

/** What goes on being written without anybody's asking: the database's journal and the daemon's own log. */
const NOISE = /(^daemon\.log|-wal|-shm)$/;

/** All that an instance is at the moment, as lines that can be compared: its answers, and what it has on the machine. */
export async function daemonState({ api, root }: Daemon): Promise<string[]> {
  const { items } = await api.listPodSandbox({});
  const { containers } = await api.listContainers({});
  const { images } = await api.listImages({});
  const sandboxes = await Promise.all(
    items.map(async ({ id }) => {
      const { status } = await api.podSandboxStatus({ podSandboxId: id });
      return JSON.stringify(toJson(PodSandboxStatusSchema, status!));
    }),
  );
  const statuses = await Promise.all(
    containers.map(async ({ id }) => {
      const { status } = await api.containerStatus({ containerId: id });
      return JSON.stringify(toJson(ContainerStatusSchema, status!));
    }),
  );
  const names = images.map((image) => JSON.stringify(toJson(ImageSchema, image)));
  return [...sandboxes, ...statuses, ...names, ...machineState(root)].toSorted();
}

function machineState(root: string): string[] {
  const instance = instanceOf(root);
  const mounts = procText("/proc/self/mountinfo")
    .split("\n")
    .filter((line) => line.includes(`${root}/`));
  const ports = `/sys/class/net/prt${instance}/brif`;
  return [
    ...filesBelow(root),
    ...mounts.map((line) => `mount ${line}`),
    ...(existsSync(ports) ? readdirSync(ports).map((name) => `link ${name}`) : []),
    ...cgroupsOf(instance),
  ];
}

function filesBelow(root: string): string[] {
  const names = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => !NOISE.test(name));
  return names.map((name) => {
    const stat = statSync(join(root, name), { throwIfNoEntry: false });
    return `file ${name} ${stat?.isFile() && !name.endsWith(".db") ? stat.size : ""}`;
  });
}

function cgroupsOf(instance: string): string[] {
  const top = "/sys/fs/cgroup";
  return [top, ...readdirSync(top).map((name) => join(top, name))].flatMap((dir) =>
    (statSync(dir).isDirectory() ? readdirSync(dir) : [])
      .filter((name) => name.startsWith(`podrt-${instance}`))
      .flatMap((name) => [join(dir, name), ...directoriesBelow(join(dir, name))]),
  );
}

function directoriesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [join(dir, name), ...directoriesBelow(join(dir, name))]);
}
