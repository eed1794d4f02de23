// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "../container/runtime.ts";

/** What no two sandboxes have in common. */
interface SandboxKey {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly attempt: number;
}

/** In a working directory: which sandbox is being made of a checkpoint, and that it is whole. */
const NOTE = "restoring";
const DONE = "restored";

/** Notes that no such sandbox existed before, and that one is being restored. */
export function noteRestore(workDir: string, key: SandboxKey): void {
  writeFileSync(join(workDir, NOTE), JSON.stringify(key));
}

/** Notes that it is whole. */
export function noteRestored(workDir: string): void {
  writeFileSync(join(workDir, DONE), "");
}

/** Makes the half-restored sandbox of a daemon that died one that is undone like others that are not ready. */
export function recoverRestore(runtime: Runtime, workDir: string): void {
  const note = join(workDir, NOTE);
  if (!existsSync(note) || existsSync(join(workDir, DONE))) return;
  const key = JSON.parse(readFileSync(note, "utf8")) as SandboxKey;
  const half = runtime.sandboxes
    .list()
    .find(
      ({ name, namespace, uid, attempt }) =>
        name === key.name && namespace === key.namespace && uid === key.uid && attempt === key.attempt,
    );
  if (half === undefined) return;
  const { readyAtNs: _, ...intent } = half;
  runtime.sandboxes.put(half.id, intent);
}
