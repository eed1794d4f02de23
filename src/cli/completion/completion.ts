// SPDX-License-Identifier: Apache-2.0
import type { SHELLS } from "../declare-manual.ts";
import { daemonOf } from "../instance.ts";
import type { Context } from "../program.ts";
import { complete } from "./complete.ts";
import { namesOf } from "./names.ts";
import bash from "./podrt.bash" with { type: "text" };
import fish from "./podrt.fish" with { type: "text" };
import zsh from "./podrt.zsh" with { type: "text" };

const SCRIPTS = { bash, zsh, fish } as const;

/** Prints what a shell sources to complete podrt's words. */
export async function completion({ io }: Context, shell: (typeof SHELLS)[number]): Promise<number> {
  await io.out(SCRIPTS[shell]);
  return 0;
}

/**
 * Answers those scripts, which give the words up to the cursor: a line `none`, `files` or `directories`, then a line for
 * each word with a tab and what it is.
 */
export async function answerShell({ io, program }: Context, words: readonly string[]): Promise<number> {
  const { candidates, files } = await complete(program, words, (kind, prefix, options) =>
    namesOf(daemonOf(options, io.env).socketPath, kind, prefix),
  );
  const lines = candidates.map(({ value, text }) => `${value}\t${text}`);
  await io.out([files, ...lines, ""].join("\n"));
  return 0;
}
