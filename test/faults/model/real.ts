// SPDX-License-Identifier: Apache-2.0
import { ConnectError } from "@connectrpc/connect";
import type { Daemon } from "../../integration/harness/daemon.ts";
import { uncleanError } from "../sweep.ts";
import type { Disturber } from "./disturbance.ts";
import type { Real } from "./model.ts";

export interface Calls {
  /** Calls that were answered as they must be. */
  answered: number;
  /** Those that a disturbance has hit, and that were repeated. */
  repeated: number;
}

/** A disturbance may hit a call more than once; more often than this it is not the disturbance. */
const MAX_TRIES = 12;

/** How Bun words the end of a daemon. */
const LOST_CONNECTION =
  /ECONNRESET|ECONNREFUSED|ENOENT|EPIPE|socket connection was closed|FailedToOpenSocket/;

/** Makes the calls of a model to a daemon that is killed and meets errors meanwhile. */
export function newReal(daemon: Daemon, disturber: Disturber, calls: Calls): Real {
  const call = async <T>(what: string, make: () => Promise<T>): Promise<T> => {
    for (let tries = 1; ; tries += 1) {
      const sinceMs = performance.now();
      try {
        const answer = await make();
        calls.answered += 1;
        return answer;
      } catch (error) {
        const isSaid = !LOST_CONNECTION.test(String(error));
        const isClean = !isSaid || uncleanError(String(error)).length === 0;
        const isExcused = disturber.excuses(sinceMs) && isClean;
        if (!isExcused || tries === MAX_TRIES) throw new Error(`${what}: ${String(error)}`);
        calls.repeated += 1;
        await disturber.settled();
      }
    }
  };
  return {
    daemon,
    addresses: new Map(),
    call,
    excuses: (sinceMs) => disturber.excuses(sinceMs),
    async refused(what, code, make) {
      const wanted = (error: unknown) => ConnectError.from(error).code === code;
      const hasRefused = await call(what, () =>
        make().then(
          () => false,
          (error) => {
            if (wanted(error)) return true;
            throw error;
          },
        ),
      );
      if (!hasRefused) throw new Error(`${what}: it is not refused`);
    },
    async joined(what, isTwice, make) {
      const answers = await Promise.all([call(what, make), ...(isTwice ? [call(what, make)] : [])]);
      const [first = "", second = first] = answers;
      if (first !== second)
        throw new Error(`${what}: asked for twice at once it is ${answers.join(" and ")}`);
      return first;
    },
  };
}
