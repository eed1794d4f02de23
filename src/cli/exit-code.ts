// SPDX-License-Identifier: Apache-2.0

/** What a command ends with unless it hands on the code of a program that it ran; they stay as they are. */
export const ExitCode = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** As a shell reports a process that died of SIGINT, or of SIGPIPE. */
  interrupted: 130,
  readerGone: 141,
} as const;

/** What each means, for the manual. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [ExitCode.ok, "it did what was asked"],
  [ExitCode.failure, "it failed, and standard error says why"],
  [ExitCode.usage, "the command line makes no sense, and nothing was done"],
  [ExitCode.interrupted, "it was ended by Ctrl-C, SIGTERM or SIGHUP"],
  [ExitCode.readerGone, "whoever read its output has gone, as in `podrt logs web | head`"],
];
