// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "../lib/logger.ts";

/** What has been found damaged on disk and not been made good, one sentence each: told in the log once, and in Status. */
export interface Damage {
  /** `subject` is what it is about, as in `image sha256:...`; a later sentence takes the place of an earlier one. */
  note(subject: string, sentence: string): void;
  /** The subject is whole again. */
  heal(subject: string): void;
  /** Newest first. */
  list(): string[];
}

/** What is beyond this is in the log only. */
const MAX_SUBJECTS = 100;

/** Nothing is known to be damaged at first: what a daemon finds, it puts aside, so that the next one does not find it again. */
export function newDamage(log: Logger): Damage {
  const sentences = new Map<string, string>();
  return {
    note(subject, sentence) {
      log.error({ subject }, sentence);
      sentences.delete(subject);
      sentences.set(subject, sentence);
      const [oldest] = sentences.keys();
      if (sentences.size > MAX_SUBJECTS && oldest !== undefined) sentences.delete(oldest);
    },
    heal: (subject) => void sentences.delete(subject),
    list: () => [...sentences.values()].reverse(),
  };
}
