// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { FailedPreconditionError } from "../errors.ts";
import { NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import { podDir } from "../paths.ts";
import { isReady } from "../state/sandboxes.ts";
import { sandboxConfig } from "./records.ts";
import type { Runtime } from "./runtime.ts";

/** The pin of a sandbox's network namespace; undefined for one in the host's. */
export function netnsPathOf(runtime: Runtime, sandboxId: string): string | undefined {
  const record = runtime.sandboxes.get(sandboxId);
  if (record === undefined || !isReady(record)) {
    throw new FailedPreconditionError(`pod sandbox ${sandboxId} is not ready any more`);
  }
  const options = sandboxConfig(record).linux?.securityContext?.namespaceOptions;
  if (options?.network === NamespaceMode.NODE) return undefined;
  return join(podDir(runtime.paths, sandboxId), "netns");
}
