// SPDX-License-Identifier: Apache-2.0
import { Cron } from "croner";

/** When a CronJob runs: five fields, or a word as `@daily` (crontab(5)). */
export function cronSchedule(text: string): string | undefined {
  const isShort = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/.test(text);
  const hint = 'expected five fields as in "*/5 * * * *", or @hourly, @daily, @weekly, @monthly, @yearly';
  if (/^(CRON_)?TZ=/.test(text)) return "expected no time zone; put it into timeZone";
  if (!isShort && text.trim().split(/\s+/).length !== 5) return `${hint}; got ${JSON.stringify(text)}`;
  try {
    return nextRun(text, undefined, new Date()) === undefined ? "never comes" : undefined;
  } catch (error) {
    return `${hint}: ${(error as Error).message.replace(/^CronPattern: /, "")}`;
  }
}

/** A time zone of the IANA database. */
export function timeZone(name: string): string | undefined {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return undefined;
  } catch {
    return `expected a time zone as in Europe/Berlin, got ${JSON.stringify(name)}`;
  }
}

/** The newest time up to `until`. */
export function lastRun(schedule: string, zone: string | undefined, until: Date): Date | undefined {
  const options = { paused: true, ...(zone === undefined ? {} : { timezone: zone }) };
  // What is asked for lies strictly before.
  return new Cron(schedule, options).previousRuns(1, new Date(until.getTime() + 1000))[0];
}

/** The first time after `after`, in the zone or else the machine's; undefined when there is none. */
export function nextRun(schedule: string, zone: string | undefined, after: Date): Date | undefined {
  const options = { paused: true, ...(zone === undefined ? {} : { timezone: zone }) };
  return new Cron(schedule, options).nextRun(after) ?? undefined;
}
