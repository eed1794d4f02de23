// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InternalError } from "../errors.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { isAlive, type ProcessIdentity, signal, waitGone } from "../linux/process.ts";
import type { Monitor } from "./monitor.ts";

const END_TIMEOUT_MS = 5000;

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
    async end() {
      signal(identity, SIGNAL.SIGKILL);
      if (!(await waitGone(identity, END_TIMEOUT_MS)))
        throw new InternalError(`monitor ${identity.pid} did not end within ${END_TIMEOUT_MS} ms of SIGKILL`);
    },
    disconnect: () => {},
  };
}
