// SPDX-License-Identifier: Apache-2.0
import { type Daemon, isNotFound, openDaemon, promptly } from "./client.ts";
import { podTitle } from "./inventory.ts";
import { isManifest, readManifests } from "./manifest-file.ts";
import { type PermissionOptions, permissionsOf } from "./permission-flags.ts";
import type { Context } from "./program.ts";
import { runPods } from "./run-pods.ts";
import { UsageError } from "./usage-error.ts";

interface Filenames {
  /** Manifests that were named by an option. */
  readonly filename?: readonly string[];
}

/** Keeps the pods of manifests as they are now; says of each what became of it. */
export async function apply(
  { io, socketPath }: Context,
  names: readonly string[],
  options: PermissionOptions & Filenames,
): Promise<number> {
  const files = await readManifests(manifestsIn(names, options), io);
  using daemon = openDaemon(socketPath);
  const allow = permissionsOf(options);
  const { pods, outcomes, cronJobs, cronOutcomes } = await runPods(daemon, io, { files, allow, apply: true });
  for (const [index, pod] of pods.entries()) await io.out(`${podTitle(pod)} ${outcomes[index]}\n`);
  for (const [index, job] of cronJobs.entries()) {
    await io.out(`cronjob ${podTitle(job)} ${cronOutcomes[index]}\n`);
  }
  return 0;
}

/** Removes the pods of manifests, all replicas that a workload of them has; claims stay. */
export async function down(
  { io, socketPath }: Context,
  names: readonly string[],
  options: { readonly time?: number } & Filenames,
): Promise<number> {
  const { time } = options;
  for (const word of names) {
    if (await isManifest(word)) continue;
    throw new UsageError(
      `${word} is no manifest that is there; \`podrt rm -f ${names.at(-1)}\` removes a pod`,
    );
  }
  const files = await readManifests(manifestsIn(names, options), io);
  // Only this command reads manifests by itself, and `run` has some of this file.
  const { parseManifest } = await import("../kube/manifest/parse.ts");
  const { pods: wanted, cronJobs, workloads } = parseManifest(files);
  using daemon = openDaemon(socketPath);
  const { pods: kept } = await daemon.pods.listPods({}, promptly());
  const found = kept.filter(
    ({ name, owner }) =>
      workloads.includes(`${name?.namespace}/${owner}`) ||
      wanted.some((pod) => pod.namespace === name?.namespace && pod.name === name.name),
  );
  await Promise.all(found.map(({ name }) => remove(daemon, name!.namespace, name!.name, time)));
  for (const { name } of found) await io.out(`${podTitle(name!)}\n`);
  const ended = await Promise.all(cronJobs.map(({ pod }) => endCronJob(daemon, pod)));
  for (const [index, { pod }] of cronJobs.entries()) {
    if (ended[index]) await io.out(`cronjob ${podTitle(pod)}\n`);
  }
  if (found.length === 0 && !ended.includes(true)) await io.err("podrt: none of the pods is kept\n");
  return 0;
}

function manifestsIn(names: readonly string[], { filename = [] }: Filenames): readonly string[] {
  const all = [...names, ...filename];
  if (all.length === 0)
    throw new UsageError("name a manifest: a file, a directory, a URL, or - for standard input");
  return all;
}

async function remove(daemon: Daemon, namespace: string, name: string, time?: number): Promise<void> {
  try {
    await daemon.pods.deletePod({ namespace, name, ...(time === undefined ? {} : { graceSeconds: time }) });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** False where none of this name is kept. */
export async function endCronJob(
  daemon: Daemon,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<boolean> {
  try {
    await daemon.pods.deleteCronJob({ namespace, name });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
