// SPDX-License-Identifier: Apache-2.0
import { Code, ConnectError } from "@connectrpc/connect";
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import { type Daemon, openDaemon, promptly } from "../client.ts";
import { ExitCode } from "../exit-code.ts";
import type { Io } from "../io.ts";
import type { Output } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { painter } from "../table.ts";
import { eventLine, eventObject, isOf, nameOf } from "./event-text.ts";

interface Options {
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly follow: boolean;
}

/** A daemon that restarts is waited for; it knows of what happened meanwhile. */
const ABSENCE_MS = 30_000;
const RETRY_MS = 200;
const LASTING_MS = 2000;

/** Prints events, those of `names` or all, as they happen; without --follow what is remembered only. */
export async function events(
  { io, socketPath, output }: Context,
  names: readonly string[],
  { since, follow }: Options,
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const print = printer(io, output);
  const wanted = (event: Event) => names.length === 0 || names.some((name) => isOf(event, name));
  const begin = since === undefined ? undefined : BigInt(Math.trunc(since)) * 1_000_000n;
  const found = follow
    ? followed(daemon, begin, io.interrupted)
    : daemon.pods.events({ sinceNs: begin ?? 0n, rememberedOnly: true }, promptly());
  for await (const event of found) if (wanted(event)) await print(event);
  return follow ? ExitCode.interrupted : ExitCode.ok;
}

/** Every event, across restarts of the daemon. */
async function* followed(
  daemon: Daemon,
  begin: bigint | undefined,
  signal: AbortSignal,
): AsyncGenerator<Event, void, undefined> {
  let sinceNs = begin ?? BigInt(Date.now()) * 1_000_000n;
  let awaySinceMs: number | undefined;
  // What is remembered first, by a call that ends: a daemon that is not there at all is not waited for.
  for await (const event of daemon.pods.events({ sinceNs, rememberedOnly: true }, promptly())) {
    sinceNs = event.atNs + 1n;
    yield event;
  }
  while (!signal.aborted) {
    const beganMs = performance.now();
    try {
      for await (const event of daemon.pods.events({ sinceNs }, { signal })) {
        sinceNs = event.atNs + 1n;
        yield event;
      }
    } catch (error) {
      if (!isAway(error)) throw error;
      const nowMs = performance.now();
      // Nobody says whether the call got through: one that lasted had somebody at its other end.
      if (awaySinceMs === undefined || nowMs - beganMs > LASTING_MS) awaySinceMs = nowMs;
      if (nowMs - awaySinceMs > ABSENCE_MS) throw error;
    }
    await sleep(RETRY_MS, signal).catch(() => {});
  }
}

function isAway(error: unknown): boolean {
  const { code, cause } = ConnectError.from(error);
  return code === Code.Unavailable || (cause as { kind?: unknown } | undefined)?.kind === "Unavailable";
}

function printer(io: Io, output: Output): (event: Event) => Promise<void> {
  const paint = painter(io);
  if (output === "table" || output === "wide") {
    return (event) => io.out(eventLine(event, paint, output === "wide"));
  }
  if (output === "json") return (event) => io.out(`${JSON.stringify(eventObject(event))}\n`);
  if (output === "name") return (event) => io.out(`${nameOf(event)}\n`);
  return async (event) => {
    if (output === "yaml") await io.out("---\n");
    await printDocument({ io, output }, eventObject(event));
  };
}
