// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import { checkInstalled, checkStatus, checkVersions } from "./chain.ts";
import type { NetworkConf } from "./conf.ts";
import type { PluginPlace } from "./plugin.ts";

/** An answer that is older is asked for again, by whoever wants to know; a kubelet does so every five seconds. */
const FRESH_MS = 4000;
/** Callers wait for the first answer of a network only, and no longer than that. */
const FIRST_ANSWER_MS = 1000;

/** Whether the plugins of a network are installed, speak its version and are ready, as last heard from them. */
export interface Health {
  /** Why pods cannot be attached; undefined when they can. */
  problemOf(network: NetworkConf): Promise<string | undefined>;
}

interface Answer {
  readonly network: NetworkConf;
  readonly problem: string | undefined;
  readonly atMs: number;
}

export function newHealth(place: PluginPlace): Health {
  let answer: Answer | undefined;
  let asking: Promise<void> | undefined;
  /** The network whose plugins have said that they speak its version. */
  let spoken: NetworkConf | undefined;
  const ask = async (network: NetworkConf) => {
    let problem: string | undefined;
    try {
      checkInstalled(place, network);
      if (spoken !== network) await checkVersions(place, network);
      spoken = network;
      await checkStatus(place, network);
    } catch (error) {
      problem = messageOf(error);
    }
    answer = { network, problem, atMs: performance.now() };
  };
  return {
    async problemOf(network) {
      const isKnown = answer?.network === network;
      if (!isKnown || performance.now() - (answer?.atMs ?? 0) > FRESH_MS) {
        asking ??= ask(network).finally(() => {
          asking = undefined;
        });
      }
      if (!isKnown) await Promise.race([asking, sleep(FIRST_ANSWER_MS)]);
      // A file that is only written anew, as some networks do now and then, is no news meanwhile.
      if (answer?.network.name === network.name) return answer.problem;
      return `network ${network.name}: its plugins have not said yet whether they are ready`;
    },
  };
}
