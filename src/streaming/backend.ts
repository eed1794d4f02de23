// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { sandboxConfig } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError } from "../errors.ts";
import { NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import { podDir } from "../paths.ts";
import { isReady } from "../state/sandboxes.ts";
import { connectToPod } from "./pod-port.ts";
import type { StreamingBackend } from "./server.ts";
import { openAttach, openExec } from "./session.ts";

/** Connects the streaming server's clients with the containers and pods of this daemon. */
export function streamingBackend(runtime: Runtime): StreamingBackend {
  return {
    exec: ({ containerId, command, tty, stdin }) => openExec(runtime, containerId, { command, tty, stdin }),
    attach: ({ containerId, stdin }) => openAttach(runtime, containerId, { stdin }),
    connect: async (sandboxId, port) => connectToPod(netnsPathOf(runtime, sandboxId), port),
  };
}

/** The pin of a sandbox's network namespace; undefined for one in the host's. */
function netnsPathOf(runtime: Runtime, sandboxId: string): string | undefined {
  const record = runtime.sandboxes.get(sandboxId);
  if (record === undefined || !isReady(record)) {
    throw new FailedPreconditionError(`pod sandbox ${sandboxId} is not ready any more`);
  }
  const options = sandboxConfig(record).linux?.securityContext?.namespaceOptions;
  if (options?.network === NamespaceMode.NODE) return undefined;
  return join(podDir(runtime.paths, sandboxId), "netns");
}
