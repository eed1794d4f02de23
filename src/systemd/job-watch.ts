// SPDX-License-Identifier: Apache-2.0
import type { BusConnection } from "../dbus/connection.ts";
import type { Message } from "../dbus/message.ts";
import type { Value } from "../dbus/values.ts";
import { MANAGER } from "./connect.ts";

/** Of a unit's jobs that end before it is known which of them is meant. */
const EARLY_RESULTS_LIMIT = 16;

export interface JobWatch extends Disposable {
  /** How the job with that path ended, if the connection does not end before, as `sender` tells it: `done`, `failed`, `canceled` and others. */
  resultOf(job: string, sender: string | undefined): Promise<string>;
}

interface JobEnd {
  readonly job: Value | undefined;
  readonly sender: string | undefined;
  readonly result: string;
}

/** Hears from now on of the jobs of a unit that end. Any process may send such a signal: the sender's alone count. */
export function watchJobs(bus: BusConnection, unit: string): JobWatch {
  const ends: JobEnd[] = [];
  let settle = (_end: JobEnd) => {};
  let ending: Error | undefined;
  let fail = (reason: Error): void => {
    ending = reason;
  };
  const forgetSignals = bus.onSignal(({ member, interface: from, path, sender, body }: Message) => {
    const [, job, name, result] = body;
    const isEnd = member === "JobRemoved" && from === MANAGER.interface && path === MANAGER.path;
    if (!isEnd || name !== unit || typeof result !== "string") return;
    const end = { job, sender, result };
    if (ends.length < EARLY_RESULTS_LIMIT) ends.push(end);
    settle(end);
  });
  const forgetEnd = bus.onEnd((reason) => fail(reason));
  return {
    resultOf: (job, sender) =>
      new Promise((resolve, reject) => {
        fail = reject;
        if (ending !== undefined) reject(ending);
        settle = (end) => {
          if (end.job === job && end.sender === sender) resolve(end.result);
        };
        for (const end of ends) settle(end);
      }),
    [Symbol.dispose]() {
      forgetSignals();
      forgetEnd();
    },
  };
}
