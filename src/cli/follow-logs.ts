// SPDX-License-Identifier: Apache-2.0
import { type Container, ContainerState } from "../gen/runtime/v1/api_pb.ts";
import { type Daemon, isNotFound, promptly } from "./client.ts";
import type { Io } from "./io.ts";
import { type LogLine, type LogReader, openLog } from "./log-file.ts";
import { type LogPrinter, logPrinter } from "./log-printer.ts";

export interface LogOptions {
  /** Before each line of a container; empty for none. */
  readonly prefixOf: (container: Container) => string;
  readonly showTimes: boolean;
  /** So many of the last lines of what is there already; undefined for all. */
  readonly tail?: number;
}

/** The logs of containers that come and go, printed as they grow. */
export interface LogFollower extends AsyncDisposable {
  /**
   * Prints what is new in the logs of `containers`. The log of one that has ended is complete, so it is
   * read to its end and never again.
   */
  advance(containers: readonly Container[]): Promise<void>;
}

interface Followed {
  readonly reader: LogReader;
  readonly printer: LogPrinter;
}

export function followLogs(daemon: Daemon, io: Io, options: LogOptions): LogFollower {
  const followed = new Map<string, Followed>();
  const finished = new Set<string>();
  let isFirstLook = true;

  const begin = async (container: Container): Promise<Followed | undefined> => {
    const path = await logPathOf(daemon, container.id);
    if (path === "") return undefined;
    const style = { prefix: options.prefixOf(container), showTimes: options.showTimes };
    const entry = { reader: openLog(path), printer: logPrinter(io, style) };
    followed.set(container.id, entry);
    if (isFirstLook && options.tail !== undefined) {
      await entry.printer.print(await lastLines(entry.reader, options.tail));
    }
    return entry;
  };
  const end = async (id: string) => {
    const entry = followed.get(id);
    followed.delete(id);
    finished.add(id);
    await entry?.printer.finish();
    await entry?.reader[Symbol.asyncDispose]();
  };
  return {
    async advance(containers) {
      // One that is gone has no more to say; what it wrote last is still in the open file, and comes first.
      const present = new Set(containers.map(({ id }) => id));
      for (const [id, entry] of followed) {
        if (present.has(id)) continue;
        await drain(entry);
        await end(id);
      }
      for (const container of containers) {
        if (finished.has(container.id) || container.state === ContainerState.CONTAINER_CREATED) continue;
        const entry = followed.get(container.id) ?? (await begin(container));
        if (entry !== undefined) await drain(entry);
        if (container.state !== ContainerState.CONTAINER_RUNNING) await end(container.id);
      }
      isFirstLook = false;
    },
    async [Symbol.asyncDispose]() {
      for (const id of [...followed.keys()]) await end(id);
    },
  };
}

/** Prints what is there now: one that writes faster than can be printed must not hold up the others. */
async function drain({ reader, printer }: Followed): Promise<void> {
  for (let reads = await reader.readsPending(); reads > 0; reads--) {
    const lines = await reader.read();
    if (lines.length === 0) return;
    await printer.print(lines);
  }
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
