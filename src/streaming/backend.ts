// SPDX-License-Identifier: Apache-2.0
import { netnsPathOf } from "../container/network-namespace.ts";
import type { Runtime } from "../container/runtime.ts";
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
