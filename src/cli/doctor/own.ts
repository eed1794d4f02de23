// SPDX-License-Identifier: Apache-2.0
import { Database } from "bun:sqlite";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Records, readRecords } from "../../debug/records.ts";
import { isPinned } from "../../linux/namespace.ts";
import { isAlive, type ProcessIdentity } from "../../linux/process.ts";
import { type Paths, podDir } from "../../paths.ts";
import { type Daemon, promptly } from "../client.ts";
import { check, type Finding, failure, ok, warning } from "./finding.ts";

type Found = Omit<Finding, "area" | "check">;

/** What is looked at of the records of sandboxes. */
export interface SandboxSeen {
  readonly name: string;
  readonly namespace: string;
  readonly readyAtNs?: string;
  readonly end?: object;
  readonly monitor?: ProcessIdentity;
  readonly pause?: ProcessIdentity;
  readonly networkAttached: boolean;
  readonly cgroupPath: string;
}

interface ContainerSeen {
  readonly name: string;
  readonly sandboxId: string;
  readonly startedAtNs?: string;
  readonly finishedAtNs?: string;
  readonly process?: ProcessIdentity;
}

/** Looks at podrt's own: the daemon, its database, and whether what the records say is so. */
export async function checkOwn(paths: Paths, daemon: Daemon | undefined): Promise<Finding[]> {
  const looked = await Promise.all([
    check("podrt", "daemon", () => conditions(daemon)),
    check("podrt", "database", () => database(paths)),
    check("podrt", "quarantine", () => quarantine(paths)),
    check("podrt", "pods", () => pods(paths)),
  ]);
  return looked.flat();
}

async function conditions(daemon: Daemon | undefined): Promise<Found[]> {
  if (daemon === undefined) {
    return [
      warning(
        "it does not run; pods that are there go on without it",
        "start it: podrt serve, or systemctl start podrt",
      ),
    ];
  }
  const { status } = await daemon.runtime.status({}, promptly());
  const amiss = (status?.conditions ?? []).filter((condition) => !condition.status);
  if (amiss.length === 0) return [ok("it answers, and says that all is well")];
  return amiss.map(({ type, message, reason }) =>
    failure(`${type}: ${message || reason}`, "mend what it says; it looks again by itself"),
  );
}

function database({ database: path }: Paths): Found[] {
  if (!existsSync(path)) return [ok("there is none yet")];
  using opened = new Database(path, { readonly: true, strict: true });
  opened.run("PRAGMA busy_timeout = 2000");
  const rows = opened.query("PRAGMA quick_check(5)").all() as { quick_check: string }[];
  const problems = rows.map((row) => row.quick_check).filter((text) => text !== "ok");
  if (problems.length === 0) return [ok(`${path} is whole`)];
  return [
    failure(
      `${path} is damaged: ${problems.join("; ")}`,
      "restart podrt: it puts what is damaged aside and goes on with the rest",
    ),
  ];
}

function quarantine({ quarantineDir }: Paths): Found[] {
  const kept = existsSync(quarantineDir) ? readdirSync(quarantineDir) : [];
  if (kept.length === 0) return [ok("nothing damaged was put aside")];
  return [
    warning(
      `${kept.length} damaged records or databases were put aside in ${quarantineDir}`,
      "look at them, and at the disk (dmesg, smartctl); then delete them",
    ),
  ];
}

/** The records of an instance; none where there is no database yet. */
export function recordsOf({ database: path }: Paths): Records {
  return existsSync(path) ? readRecords(path) : {};
}

function pods(paths: Paths): Found[] {
  const records = recordsOf(paths);
  const sandboxes = Object.entries(records["sandboxes"] ?? {}) as [string, SandboxSeen][];
  const containers = Object.entries(records["containers"] ?? {}) as [string, ContainerSeen][];
  const ready = sandboxes.filter(([, { readyAtNs, end }]) => readyAtNs !== undefined && end === undefined);
  const problems = ready.flatMap(([id, sandbox]) => problemsOf(paths, id, sandbox));
  const running = containers.filter(
    ([, one]) => one.startedAtNs !== undefined && one.finishedAtNs === undefined,
  );
  const gone = running.filter(([, { process }]) => process === undefined || !isAlive(process));
  for (const [id, { name }] of gone)
    problems.push(`container ${name} (${id.slice(0, 13)}) is recorded as running and its process is gone`);
  if (problems.length === 0)
    return [ok(`${ready.length} pods and ${running.length} containers run as recorded`)];
  // An exit is recorded a moment after it; the daemon compares at its start.
  return problems.map((text) =>
    failure(
      text,
      "look again in a moment; if it stays, restart podrt, which compares its records with the machine",
    ),
  );
}

function problemsOf(
  paths: Paths,
  id: string,
  { name, namespace, monitor, pause, networkAttached }: SandboxSeen,
): string[] {
  const what = `pod ${namespace}/${name} (${id.slice(0, 13)})`;
  const dir = podDir(paths, id);
  return [
    ...(existsSync(dir) ? [] : [`${what} has lost its directory ${dir}`]),
    ...(monitor !== undefined && isAlive(monitor) ? [] : [`${what} has lost its monitor`]),
    ...(pause !== undefined && isAlive(pause) ? [] : [`${what} has lost its pause`]),
    ...(!networkAttached || isPinned(join(dir, "netns"))
      ? []
      : [`${what} has lost the pin of its network namespace`]),
  ];
}
