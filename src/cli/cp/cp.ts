// SPDX-License-Identifier: Apache-2.0
import type { CopySummary } from "../../copy/copy-bounds.ts";
import { topNameOf } from "../../copy/tree-place.ts";
import { UnavailableError } from "../../errors.ts";

import { type Daemon, openDaemon } from "../client.ts";
import { size } from "../human.ts";
import { inputQueue } from "../input-queue.ts";
import { requireContainer, takeInventory } from "../inventory.ts";
import type { Io } from "../io.ts";
import type { Context } from "../program.ts";
import { UsageError } from "../usage-error.ts";
import { type CopyPlace, parseCopyPlace } from "./copy-place.ts";
import { type Received, receiveLocal, sendLocal } from "./local-tree.ts";

interface Options {
  readonly followLink?: boolean;
}

interface Copy {
  readonly io: Io;
  readonly daemon: Daemon;
  readonly containerId: string;
  readonly followLink: boolean;
}

type InContainer = CopyPlace & { readonly kind: "container" };

/** Copies between this machine and a container, in which no program is needed for it. */
export async function cp(
  { io, socketPath }: Context,
  from: string,
  to: string,
  { followLink = false }: Options,
): Promise<number> {
  const [source, target] = [parseCopyPlace(from), parseCopyPlace(to)];
  if ((source.kind === "container") === (target.kind === "container")) {
    throw new UsageError(
      source.kind === "container"
        ? "one side of a copy is on this machine; between containers, `podrt cp A:PATH - | podrt cp - B:PATH` goes through both"
        : `name a container on one side, as in \`podrt cp POD/CONTAINER:${from.startsWith("/") ? from : "/PATH"} ${to}\``,
    );
  }
  using daemon = openDaemon(socketPath);
  const { container } = (source.kind === "container" ? source : target) as InContainer;
  const { id } = requireContainer(await takeInventory(daemon), container);
  const copy = { io, daemon, containerId: id, followLink };
  const done =
    source.kind === "container"
      ? await copyHere(copy, source, target)
      : await copyThere(copy, source, target as InContainer);
  await report(io, done);
  return 0;
}

async function copyHere(
  { io, daemon, containerId, followLink }: Copy,
  { path }: InContainer,
  target: CopyPlace,
): Promise<CopySummary> {
  if (target.kind === "stream" && io.isTerminal) {
    throw new UsageError("an archive is nothing for a terminal; pass standard output to a file or to tar");
  }
  let done: CopySummary | undefined;
  const archive = async function* () {
    const request = { containerId, path, followLink };
    for await (const { message } of daemon.pods.copyFrom(request, { signal: io.interrupted })) {
      if (message.case === "archive") yield message.value;
      else if (message.case === "done") done = numbers(message.value);
    }
  };
  if (target.kind === "stream") {
    for await (const bytes of archive()) await io.out(bytes);
    return done ?? cutOff();
  }
  const received = await receiveLocal(target as CopyPlace & { kind: "local" }, topNameOf(path), archive());
  const sent = done ?? cutOff();
  return { ...received, leftOut: received.leftOut + sent.leftOut };
}

async function copyThere(
  { io, daemon, containerId, followLink }: Copy,
  source: CopyPlace,
  { path }: InContainer,
): Promise<CopySummary> {
  const queue = inputQueue<Uint8Array>();
  const over = new AbortController();
  const signal = AbortSignal.any([io.interrupted, over.signal]);
  const topName = source.kind === "local" ? topNameOf(source.path) : "";
  const requests = async function* () {
    yield { message: { case: "start" as const, value: { containerId, path, topName } } };
    for await (const value of queue) yield { message: { case: "archive" as const, value } };
  };
  // The reader uses its buffer again.
  const sink = (bytes: Uint8Array) => queue.push(bytes.slice());
  const send = async (): Promise<CopySummary | undefined> => {
    try {
      if (source.kind === "local") return await sendLocal(source, followLink, sink, signal);
      for await (const bytes of io.stdin) await sink(bytes);
      return undefined;
    } catch (error) {
      // What was read so far is not to be taken for all of it.
      over.abort(error);
      throw error;
    } finally {
      queue.end();
    }
  };
  const sending = send();
  sending.catch(() => {});
  const call = daemon.pods.copyTo(requests(), { signal }).catch(async (error: unknown) => {
    queue.end();
    // A source that cannot be read has ended the call.
    if (over.signal.aborted) throw over.signal.reason;
    over.abort(error);
    throw error;
  });
  const { done } = await call;
  const sent = await sending;
  if (done === undefined) return cutOff();
  const made = numbers(done);
  return { ...made, leftOut: made.leftOut + (sent?.leftOut ?? 0) };
}

function cutOff(): never {
  throw new UnavailableError("the daemon ended the copy before all of it was there");
}

function numbers({ files, bytes, leftOut }: { files: bigint; bytes: bigint; leftOut: bigint }): CopySummary {
  return { files: Number(files), bytes: Number(bytes), leftOut: Number(leftOut) };
}

/** What was not copied is told; what was, to a person. */
async function report(io: Io, done: CopySummary & Partial<Received>): Promise<void> {
  const { files, bytes, leftOut, tamed = 0 } = done;
  if (leftOut > 0) {
    await io.err(
      `podrt: ${leftOut} left out: sockets, devices, what the kernel makes up, or what went away meanwhile\n`,
    );
  }
  if (tamed > 0) {
    await io.err(
      `podrt: ${tamed} would run with another's rights: their setuid and setgid bits and capabilities were left out; a copy to - has them\n`,
    );
  }
  if (io.terminal !== undefined && io.isTerminal) {
    await io.err(`copied ${files} ${files === 1 ? "file" : "files"}, ${size(bytes)}\n`);
  }
}
