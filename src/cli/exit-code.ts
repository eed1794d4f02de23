// SPDX-License-Identifier: Apache-2.0

/** What a command ends with unless it hands on the code of a program that it ran; they stay as they are. */
export const ExitCode = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** Of `wait`: it cannot come any more; and, as timeout(1) has it, the time is up. */
  never: 3,
  timedOut: 124,
  /** As a shell reports a process that died of SIGINT, or of SIGPIPE. */
  interrupted: 130,
  readerGone: 141,
} as const;

/** What each means, for the manual. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [
    ExitCode.ok,
    "it did what was asked; that is so, too, where Ctrl-C is the usual end: of `run` with manifests, `logs -f`, " +
      "`events`, `stats -w`, `top`, `port-forward` and `dashboard`",
  ],
  [ExitCode.failure, "it failed, and standard error says why"],
  [ExitCode.usage, "the command line makes no sense, and nothing was done"],
  [ExitCode.never, "what `wait` waits for cannot come any more"],
  [ExitCode.timedOut, "the time that `wait` was given is up"],
  [ExitCode.interrupted, "it was ended by Ctrl-C, SIGTERM or SIGHUP before it was done"],
  [ExitCode.readerGone, "whoever read its output has gone, as in `podrt logs web | head`"],
];
