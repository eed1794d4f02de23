// SPDX-License-Identifier: Apache-2.0
import { type Container, ContainerState } from "../../gen/runtime/v1/api_pb.ts";
import { type Daemon, isNotFound, promptly } from "../client.ts";
import type { Io } from "../io.ts";
import { type LogLine, type LogReader, openLog } from "./log-file.ts";
import { compareTimes, type LineSource, mergeByTime } from "./merge.ts";
import { type LogSource, logPrinter } from "./printer.ts";

export interface LogOptions {
  /** Before each line of a container; empty for none. */
  readonly prefixOf: (container: Container) => string;
  readonly showTimes: boolean;
  /** So many of the last lines of what is there already; undefined for all. */
  readonly tail?: number;
  /** Only lines written at or after this time, in milliseconds since 1970. */
  readonly since?: number;
}

/** The logs of containers that come and go, printed as they grow, in the order of the times of their lines. */
export interface LogFollower extends AsyncDisposable {
  /**
   * Prints what is new in the logs of `containers`. The log of one that has ended is complete, so it is
   * read to its end and never again.
   */
  advance(containers: readonly Container[]): Promise<void>;
}

interface Followed extends LogSource {
  readonly reader: LogReader;
}

export function followLogs(daemon: Daemon, io: Io, options: LogOptions): LogFollower {
  const followed = new Map<string, Followed>();
  const finished = new Set<string>();
  const printer = logPrinter(io, options);
  let isFirstLook = true;

  const begin = async (container: Container): Promise<LineSource | undefined> => {
    const path = await logPathOf(daemon, container.id);
    if (path === "") return undefined;
    const whole = openLog(path);
    const reader = options.since === undefined ? whole : onlySince(whole, options.since);
    followed.set(container.id, { reader, prefix: options.prefixOf(container) });
    if (!isFirstLook || options.tail === undefined) return await present(reader);
    return readOnce(await lastLines(reader, options.tail));
  };
  const end = async (id: string) => {
    const entry = followed.get(id);
    followed.delete(id);
    finished.add(id);
    if (entry === undefined) return;
    await printer.finish(entry);
    await entry.reader[Symbol.asyncDispose]();
  };
  return {
    async advance(containers) {
      const news: (LineSource & { readonly entry: Followed })[] = [];
      const over: string[] = [];
      // One that is gone has no more to say; what it wrote last is still in the open file, and comes first.
      const ids = new Set(containers.map(({ id }) => id));
      for (const [id, entry] of followed) {
        if (ids.has(id)) continue;
        news.push({ entry, ...(await present(entry.reader)) });
        over.push(id);
      }
      for (const container of containers) {
        if (finished.has(container.id) || container.state === ContainerState.CONTAINER_CREATED) continue;
        const known = followed.get(container.id);
        const source = known === undefined ? await begin(container) : await present(known.reader);
        const entry = followed.get(container.id);
        if (source !== undefined && entry !== undefined) news.push({ entry, ...source });
        if (container.state !== ContainerState.CONTAINER_RUNNING) over.push(container.id);
      }
      await mergeByTime(news, ({ entry }, lines) => printer.print(entry, lines));
      await printer.flush();
      for (const id of over) await end(id);
      isFirstLook = false;
    },
    async [Symbol.asyncDispose]() {
      for (const id of [...followed.keys()]) await end(id);
    },
  };
}

/** What is there now: one that writes faster than can be printed must not hold up the others. */
async function present(reader: LogReader): Promise<LineSource> {
  let reads = await reader.readsPending();
  return {
    async read() {
      return reads-- > 0 ? await reader.read() : [];
    },
  };
}

function readOnce(lines: readonly LogLine[]): LineSource {
  let rest = lines;
  return {
    async read() {
      const now = rest;
      rest = [];
      return now;
    },
  };
}

/** Without the lines that were begun before `sinceMs`, with all their parts. */
function onlySince(reader: LogReader, sinceMs: number): LogReader {
  const begin = new Date(sinceMs).toISOString();
  const isLeftOut = { stdout: false, stderr: false };
  const isAmid = { stdout: false, stderr: false };
  const isWanted = ({ time, stream, isWhole }: LogLine) => {
    if (!isAmid[stream]) isLeftOut[stream] = compareTimes(time, begin) < 0;
    isAmid[stream] = !isWhole;
    return !isLeftOut[stream];
  };
  const read = async () => {
    for (let reads = await reader.readsPending(); ; reads--) {
      const lines = await reader.read();
      const wanted = lines.filter(isWanted);
      // No lines would mean that there are no more.
      if (wanted.length > 0 || lines.length === 0 || reads <= 0) return wanted;
    }
  };
  return { ...reader, read };
}

async function lastLines(reader: LogReader, count: number): Promise<LogLine[]> {
  let last: LogLine[] = [];
  for (let reads = await reader.readsPending(); reads > 0; reads--) {
    const lines = await reader.read();
    if (lines.length === 0) break;
    last = keepLast([...last, ...lines], count);
  }
  return last;
}

/** The last `count` lines with all their parts; copied, so that what was read with them can be freed. */
function keepLast(lines: readonly LogLine[], count: number): LogLine[] {
  let wanted = count;
  let first = lines.length;
  while (first > 0) {
    const startsLine = lines[first - 1]!.isWhole || first === lines.length;
    if (startsLine && wanted-- === 0) break;
    first--;
  }
  return lines.slice(first).map((line) => ({ ...line, text: line.text.slice() }));
}

/** Empty for a container without a log, or one that is gone. */
async function logPathOf(daemon: Daemon, containerId: string): Promise<string> {
  try {
    const { status } = await daemon.runtime.containerStatus({ containerId }, promptly());
    return status?.logPath ?? "";
  } catch (error) {
    if (isNotFound(error)) return "";
    throw error;
  }
}
