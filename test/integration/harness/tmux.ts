// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { outputOf, runCommand } from "./command.ts";
import { eventually } from "./eventually.ts";

export const hasTmux = Bun.which("tmux") !== null;
if (!hasTmux) console.log("skipped: what is shown on a terminal, because tmux is not installed");

/** A terminal with a shell in it, that a person might sit at. */
export interface TmuxScreen extends AsyncDisposable {
  /** Types a line, and Enter. */
  type(line: string): Promise<void>;
  /** Types a text, without Enter. */
  write(text: string): Promise<void>;
  /** Types one key as tmux names it, as in `C-c`. */
  key(name: string): Promise<void>;
  /** What is on the screen now, without the blanks at the ends. */
  rows(): Promise<string[]>;
  /** Waits until what is on the screen is as `probe` wants it, and answers the rows. */
  until(what: string, probe: (rows: readonly string[]) => boolean): Promise<string[]>;
  resize(width: number, height: number): Promise<void>;
}

/** Starts a tmux server of its own. */
export async function openTmux(size = { width: 100, height: 30 }): Promise<TmuxScreen> {
  const server = `podrt-${randomBytes(6).toString("hex")}`;
  const tmux = (...args: string[]) => outputOf("tmux", ["-L", server, "-f", "/dev/null", ...args]);
  const shell = "env -u NO_COLOR PS1='$ ' sh";
  await tmux("new-session", "-d", "-x", `${size.width}`, "-y", `${size.height}`, shell);
  await tmux("set-option", "-g", "window-size", "manual");
  const rows = async () => (await tmux("capture-pane", "-p")).trimEnd().split("\n");
  return {
    async type(line) {
      await tmux("send-keys", "-l", line);
      await tmux("send-keys", "Enter");
    },
    write: async (text) => void (await tmux("send-keys", "-l", text)),
    key: async (name) => void (await tmux("send-keys", name)),
    rows,
    until: (what, probe) =>
      eventually(
        `the screen shows ${what}`,
        async () => {
          const shown = await rows();
          if (!probe(shown)) throw new Error(shown.join("\n"));
          return shown;
        },
        50_000,
        50,
      ),
    resize: async (width, height) => void (await tmux("resize-window", "-x", `${width}`, "-y", `${height}`)),
    async [Symbol.asyncDispose]() {
      await runCommand("tmux", ["-L", server, "kill-server"]);
    },
  };
}
