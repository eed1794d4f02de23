// SPDX-License-Identifier: Apache-2.0
import type { Io } from "./io.ts";

/** Whether there is somebody at a terminal to be asked. */
export function canAsk(io: Io): boolean {
  return io.isTerminal && io.terminal !== undefined;
}

/** Asks a question that is no unless it is answered with y or yes. */
export async function confirm(io: Io, question: string): Promise<boolean> {
  await io.err(`${question} [y/N] `);
  return /^y(es)?$/i.test((await firstLine(io)).trim());
}

/** What is typed before Enter; empty after Ctrl-C, Ctrl-D and more than anybody types. */
async function firstLine({ stdin, interrupted }: Io): Promise<string> {
  const reader = stdin[Symbol.asyncIterator]();
  const stop = new Promise<undefined>((resolve) =>
    interrupted.addEventListener("abort", () => resolve(undefined), { once: true }),
  );
  let text = "";
  while (!text.includes("\n") && text.length < 1024) {
    const next = await Promise.race([reader.next(), stop]);
    if (next === undefined || next.done) return "";
    text += Buffer.from(next.value).toString("utf8");
  }
  return text.split("\n")[0]!;
}
