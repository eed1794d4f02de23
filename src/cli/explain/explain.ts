// SPDX-License-Identifier: Apache-2.0
import { openDaemon } from "../client.ts";
import { readManifests } from "../manifest-file.ts";
import { isDocument } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import { type PermissionOptions, permissionsOf } from "../permission-flags.ts";
import type { Context } from "../program.ts";
import { painter } from "../table.ts";
import { type Explanation, shown } from "./plan-text.ts";

interface Options extends PermissionOptions {
  /** Whether each system call is listed. */
  readonly calls?: boolean;
  /** Whether no registry is asked. */
  readonly offline?: boolean;
}

/** Longer than the daemon asks registries. */
const EXPLAIN_TIMEOUT_MS = 60_000;

/** Prints what would be done for the pods of manifests; exits with 1 when something of it cannot be. */
export async function explain(
  { io, socketPath, output }: Context,
  names: readonly string[],
  options: Options,
): Promise<number> {
  const files = await readManifests(names, io);
  using daemon = openDaemon(socketPath);
  const pieces: string[] = [];
  const request = { files, allow: permissionsOf(options), offline: options.offline ?? false };
  for await (const { text } of daemon.pods.explain(request, { timeoutMs: EXPLAIN_TIMEOUT_MS }))
    pieces.push(text);
  const plan = JSON.parse(pieces.join("")) as Explanation;
  const isAmiss = plan.pods.some(({ sandbox, containers }) =>
    [sandbox, ...containers].some(({ problem }) => problem !== undefined),
  );
  if (isDocument(output)) await printDocument({ io, output }, plan);
  else await io.out(shown(plan, options.calls ?? false, painter(io)));
  return isAmiss ? 1 : 0;
}
