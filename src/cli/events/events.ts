// SPDX-License-Identifier: Apache-2.0
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { openDaemon, promptly } from "../client.ts";
import { ExitCode } from "../exit-code.ts";
import type { Io } from "../io.ts";
import type { Output } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { painter } from "../table.ts";
import { eventLine, eventObject, isOf, nameOf } from "./event-text.ts";
import { followEvents } from "./follow.ts";
import { unknownName } from "./known-names.ts";

interface Options {
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly follow: boolean;
}

/** Prints events, those of `names` or all, as they happen; without --follow what is remembered only. */
export async function events(
  { io, socketPath, output }: Context,
  names: readonly string[],
  { since, follow }: Options,
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const unknown = names.length === 0 ? undefined : await unknownName(daemon, names);
  // What is yet to come may be waited for.
  if (unknown !== undefined && !follow) throw unknown;
  if (unknown !== undefined) await io.err(`podrt: ${unknown.message}; waiting for it\n`);
  const print = printer(io, output);
  const wanted = (event: Event) => names.length === 0 || names.some((name) => isOf(event, name));
  const begin = since === undefined ? undefined : BigInt(Math.trunc(since)) * 1_000_000n;
  const found = follow
    ? followEvents(daemon, begin ?? BigInt(Date.now()) * 1_000_000n, io.interrupted)
    : daemon.pods.events({ sinceNs: begin ?? 0n, rememberedOnly: true }, promptly());
  for await (const event of found) if (wanted(event)) await print(event);
  return ExitCode.ok;
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
