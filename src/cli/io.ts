// SPDX-License-Identifier: Apache-2.0

/** What a command reads and writes: the process's own streams, or a test's. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Resolves once the text is written; rejects when nobody reads any more. */
  out(text: string | Uint8Array): Promise<void>;
  err(text: string | Uint8Array): Promise<void>;
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean;
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Aborted by Ctrl-C (SIGINT), SIGTERM and SIGHUP. */
  readonly interrupted: AbortSignal;
}

/** Standard output's reader has gone, as with `podrt logs x | head`; nothing to complain of. */
export class ReaderGoneError extends Error {}

/** The streams and signals of this process. Call it once. */
export function processIo(): Io {
  const interrupt = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => interrupt.abort(signal));
  }
  return {
    env: process.env,
    out: (text) => write(process.stdout, text),
    err: (text) => write(process.stderr, text),
    isTerminal: process.stdout.isTTY === true,
    stdin: process.stdin,
    interrupted: interrupt.signal,
  };
}

function write(stream: NodeJS.WriteStream, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      reject(error.code === "EPIPE" ? new ReaderGoneError("nobody reads any more") : error);
    };
    stream.once("error", onError);
    stream.write(text, (error) => {
      stream.off("error", onError);
      if (error === null || error === undefined) resolve();
      else onError(error);
    });
  });
}
