// SPDX-License-Identifier: Apache-2.0
import { writeSync } from "node:fs";
import { ENTER_SCREEN, ERASE_LINE, HOME, LEAVE_SCREEN, USUAL_SIZE } from "../control-sequences.ts";
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

const STDOUT = 1;

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
      writeSync(STDOUT, LEAVE_SCREEN);
    } catch {
      // A terminal that hung up has nothing to be restored.
    }
  };
  const enter = async () => {
    isOurs = true;
    process.on("exit", restoreNow);
    terminal.setRaw(true);
    await io.out(ENTER_SCREEN);
  };
  const leave = async () => {
    if (!isOurs) return;
    isOurs = false;
    next = undefined;
    process.off("exit", restoreNow);
    terminal.setRaw(false);
    await io.out(LEAVE_SCREEN).catch(() => {});
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
      return terminal.size() ?? USUAL_SIZE;
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
