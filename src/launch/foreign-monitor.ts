// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { isAlive, type ProcessIdentity } from "../linux/process.ts";
import type { Monitor } from "./monitor.ts";
import { killMonitor } from "./monitor-end.ts";

/**
 * Stands for a monitor that this podrt cannot speak with, for its protocol (launch/protocol.ts) or since it does not
 * answer: it launches nothing and tells nothing, but can be ended. `refusal` says why.
 */
export function foreignMonitor(identity: ProcessIdentity, refusal: string): Monitor {
  return {
    identity,
    refusal,
    launch: () =>
      Promise.reject(new FailedPreconditionError(`nothing can be launched in the pod: ${refusal}`)),
    catchUp: () => {},
    history: () => undefined,
    forget: () => {},
    onExit: () => {},
    // Nobody tells: whoever waits has to look as well.
    reaped: () => new Promise(() => {}),
    onGone: () => {},
    isAlive: () => isAlive(identity),
    end: () => killMonitor(identity),
    disconnect: () => {},
  };
}
