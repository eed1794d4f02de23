// SPDX-License-Identifier: Apache-2.0
import { sleep } from "../../lib/deadline.ts";
import { type Daemon, openDaemon } from "../client.ts";
import { ridingOutAbsence } from "../daemon-absence.ts";
import { ExitCode } from "../exit-code.ts";
import type { Io, Terminal } from "../io.ts";
import type { Context } from "../program.ts";
import { takeSample } from "../stats/sample.ts";
import { type PodUsage, usageOf } from "../stats/usage.ts";
import { painter } from "../table.ts";
import { keysOf } from "./keys.ts";
import { enterScreen, type Screen } from "./screen.ts";
import { rowsOf, type Sort, screenLines, tableLines, type View } from "./view.ts";

interface Options {
  readonly sort: Sort;
  /** Milliseconds. */
  readonly interval: number;
}

/** Until the second sample: without it there are no rates. */
const FIRST_MS = 500;

/** Shows what pods and containers use on the whole terminal until q; without a terminal once, as a table. */
export async function top({ io, socketPath }: Context, options: Options): Promise<number> {
  using daemon = openDaemon(socketPath);
  const view: View = { sort: options.sort, isReversed: false, hasContainers: true, offset: 0 };
  const { terminal } = io.isTerminal ? io : { terminal: undefined };
  return terminal === undefined
    ? await printOnce(daemon, io, view)
    : await watch(daemon, io, terminal, view, options.interval);
}

async function printOnce(daemon: Daemon, io: Io, view: View): Promise<number> {
  const before = await takeSample(daemon);
  await sleep(FIRST_MS, io.interrupted);
  const rows = rowsOf(usageOf(await takeSample(daemon), before), view);
  const { heading, lines } = tableLines(rows, view, Number.POSITIVE_INFINITY, (text) => text);
  await io.out([heading, ...lines].map((line) => `${line.trimEnd()}\n`).join(""));
  return 0;
}

async function watch(
  daemon: Daemon,
  io: Io,
  terminal: Terminal,
  initial: View,
  intervalMs: number,
): Promise<number> {
  const paint = painter(io);
  const sample = ridingOutAbsence(() => takeSample(daemon));
  // Before the terminal is taken over: what is amiss now is said on it as it is.
  let before = await takeSample(daemon);
  const end = Promise.withResolvers<number>();
  const over = new AbortController();
  let refresh = new AbortController();
  let pods: readonly PodUsage[] = usageOf(before, undefined);
  let view = initial;
  let note: string | undefined;
  const screen = await enterScreen(io, terminal, end.reject);

  const redraw = () => {
    const time = new Date().toTimeString().slice(0, 8);
    const picture = screenLines({ pods, view, size: screen.size, note, time }, paint);
    view = { ...view, offset: picture.offset };
    screen.draw(picture.lines);
  };
  const measure = async () => {
    for (let waitMs = FIRST_MS; ; waitMs = intervalMs) {
      refresh = new AbortController();
      const early = AbortSignal.any([refresh.signal, over.signal]);
      await sleep(Math.min(waitMs, intervalMs), early).catch(() => {});
      if (over.signal.aborted) return;
      const now = await sample();
      note = now === undefined ? "the daemon is away; waiting for it" : undefined;
      if (now !== undefined) {
        pods = usageOf(now, before);
        before = now;
      }
      redraw();
    }
  };
  const onKey = async (key: string) => {
    if (key === "q" || key === "ctrl-c") return end.resolve(ExitCode.ok);
    if (key === " ") refresh.abort();
    if (key === "ctrl-z") await screen.suspend();
    view = viewAfter(key, view, screen);
    redraw();
  };
  const onInterrupt = () => end.resolve(ExitCode.ok);
  const stopResizing = terminal.onResize(redraw);
  io.interrupted.addEventListener("abort", onInterrupt, { once: true });
  // The other signal that a terminal sends, which would end the process without a word.
  process.once("SIGQUIT", onInterrupt);
  if (io.interrupted.aborted) onInterrupt();
  try {
    redraw();
    void readKeys(io.stdin, over.signal, onKey).catch(end.reject);
    measure().catch(end.reject);
    return await end.promise;
  } finally {
    over.abort();
    stopResizing();
    process.off("SIGQUIT", onInterrupt);
    await screen.leave();
  }
}

async function readKeys(
  stdin: AsyncIterable<Uint8Array>,
  over: AbortSignal,
  onKey: (key: string) => Promise<void>,
): Promise<void> {
  // Where the input ends, the figures go on: a signal ends them.
  for await (const data of stdin) {
    for (const key of keysOf(data)) {
      if (over.aborted) return;
      await onKey(key);
    }
  }
}

const SORT_KEYS: Readonly<Record<string, Sort>> = {
  c: "cpu",
  m: "memory",
  p: "pids",
  i: "network",
  b: "block",
  r: "restarts",
  n: "name",
};

function viewAfter(key: string, view: View, { size }: Screen): View {
  const sort = SORT_KEYS[key];
  if (sort !== undefined) return { ...view, sort, isReversed: false, offset: 0 };
  const page = Math.max(1, size.height - 4);
  switch (key) {
    case "R":
      return { ...view, isReversed: !view.isReversed };
    case "t":
      return { ...view, hasContainers: !view.hasContainers };
    case "up":
    case "k":
      return { ...view, offset: view.offset - 1 };
    case "down":
    case "j":
      return { ...view, offset: view.offset + 1 };
    case "page up":
      return { ...view, offset: view.offset - page };
    case "page down":
      return { ...view, offset: view.offset + page };
    case "home":
      return { ...view, offset: 0 };
    case "end":
      return { ...view, offset: Number.MAX_SAFE_INTEGER };
    default:
      return view;
  }
}
