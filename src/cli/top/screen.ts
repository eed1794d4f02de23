// SPDX-License-Identifier: Apache-2.0
import { writeSync } from "node:fs";
import type { Io, Terminal } from "../io.ts";

/** The whole terminal, with what it showed before put aside. */
export interface Screen {
  readonly size: { readonly width: number; readonly height: number };
  /** Shows `lines`, as many as there are rows, which fit. While an earlier picture is still being written, the newest waits. */
  draw(lines: readonly string[]): void;
  /** Gives the terminal back until the process, which stops here, is continued. */
  suspend(): Promise<void>;
  /** The terminal is as it was before; again is fine. */
  leave(): Promise<void>;
}

// Sequences of xterm's that every terminal of today knows: the other screen, the cursor, the wrapping of long lines.
const ENTER = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const LEAVE = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const ERASE_LINE = "\u001b[K";
const STDOUT = 1;
/** Of a terminal that does not say. */
const USUAL = { width: 80, height: 24 };

/**
 * Takes the terminal over; `onFailure` hears when it cannot be written to any more. Whatever ends this process without
 * `leave`, but for SIGKILL, gives it back too.
 */
export async function enterScreen(
  io: Io,
  terminal: Terminal,
  onFailure: (error: unknown) => void,
): Promise<Screen> {
  let isOurs = false;
  let isWriting = false;
  let next: string | undefined;

  const restoreNow = () => {
    if (!isOurs) return;
    isOurs = false;
    terminal.setRaw(false);
    try {
      writeSync(STDOUT, LEAVE);
    } catch {
      // A terminal that hung up has nothing to be restored.
    }
  };
  const enter = async () => {
    isOurs = true;
    process.on("exit", restoreNow);
    terminal.setRaw(true);
    await io.out(ENTER);
  };
  const leave = async () => {
    if (!isOurs) return;
    isOurs = false;
    next = undefined;
    process.off("exit", restoreNow);
    terminal.setRaw(false);
    await io.out(LEAVE).catch(() => {});
  };
  const write = async (picture: string) => {
    isWriting = true;
    try {
      await io.out(picture);
      while (next !== undefined && isOurs) {
        const newest = next;
        next = undefined;
        await io.out(newest);
      }
    } catch (error) {
      onFailure(error);
    }
    isWriting = false;
  };
  await enter();
  return {
    get size() {
      return terminal.size() ?? USUAL;
    },
    draw(lines) {
      if (!isOurs) return;
      // Erased first: behind a line that ends at the edge the cursor still stands on its last character.
      const picture = `${HOME}${lines.map((line) => `${ERASE_LINE}${line}`).join("\r\n")}`;
      if (isWriting) next = picture;
      else void write(picture);
    },
    async suspend() {
      await leave();
      process.kill(process.pid, "SIGSTOP");
      await enter();
    },
    leave,
  };
}
