// SPDX-License-Identifier: Apache-2.0

/** A terminal that is written to. */
export interface Screen {
  /** Undefined where the terminal does not say. */
  size(): { readonly width: number; readonly height: number } | undefined;
  /** Calls `listener` after the size changed; the answer ends that. */
  onResize(listener: () => void): () => void;
}

/** The terminal on standard input. */
export interface Terminal extends Screen {
  /** In raw mode each key is passed on as it is typed, Ctrl-C too. */
  setRaw(isRaw: boolean): void;
}

export type ColorChoice = "auto" | "always" | "never";

/** What a command reads and writes: the process's own streams, or a test's. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Resolves once the text is written; rejects when nobody reads any more. */
  out(text: string | Uint8Array): Promise<void>;
  err(text: string | Uint8Array): Promise<void>;
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Undefined when standard output is none. */
  readonly outScreen: Screen | undefined;
  /** Undefined when standard error, where goes what is only for the moment, is none. */
  readonly errScreen: Screen | undefined;
  /** What `--color` says of colours; undefined where it was left out. */
  readonly color?: ColorChoice;
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Undefined when standard input is none. */
  readonly terminal: Terminal | undefined;
  /** Aborted by Ctrl-C (SIGINT), SIGTERM and SIGHUP. */
  readonly interrupted: AbortSignal;
  /** Aborted by the second of these signals. */
  readonly insisted: AbortSignal;
}

/** Standard output's reader has gone, as with `podrt logs x | head`; nothing to complain of. */
export class ReaderGoneError extends Error {}

/** The streams and signals of this process. Call it once. */
export function processIo(): Io {
  const interrupt = new AbortController();
  const insistence = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => (interrupt.signal.aborted ? insistence : interrupt).abort());
  }
  return {
    env: process.env,
    out: (text) => write(process.stdout, text),
    err: (text) => write(process.stderr, text),
    isTerminal: process.stdout.isTTY === true,
    outScreen: process.stdout.isTTY ? screenOf(process.stdout) : undefined,
    errScreen: process.stderr.isTTY ? screenOf(process.stderr) : undefined,
    // Looked up late: merely touching it makes the process wait for input.
    get stdin() {
      return process.stdin;
    },
    get terminal() {
      if (!process.stdin.isTTY) return undefined;
      return {
        ...screenOf(process.stdout),
        setRaw: (isRaw: boolean) => void process.stdin.setRawMode(isRaw),
      };
    },
    interrupted: interrupt.signal,
    insisted: insistence.signal,
  };
}

/** The same streams with another choice of colours. */
export function withColor(io: Io, color: ColorChoice): Io {
  // Copying its properties would touch standard input.
  return Object.create(io, { color: { value: color, enumerable: true } }) as Io;
}

/**
 * Whether standard output gets colours: as `--color` says, then NO_COLOR (no-color.org), then CLICOLOR_FORCE and CLICOLOR
 * (bixense.com/clicolors), and else where it is a terminal that knows them.
 */
export function hasColors({
  color = "auto",
  env,
  isTerminal,
}: Pick<Io, "color" | "env" | "isTerminal">): boolean {
  const isSet = (name: string) => (env[name] ?? "") !== "";
  if (color !== "auto") return color === "always";
  if (isSet("NO_COLOR")) return false;
  if (isSet("CLICOLOR_FORCE") && env["CLICOLOR_FORCE"] !== "0") return true;
  return isTerminal && env["CLICOLOR"] !== "0" && env["TERM"] !== "dumb";
}

function screenOf(stream: NodeJS.WriteStream): Screen {
  return {
    size() {
      const { columns: width, rows: height } = stream;
      return width > 0 && height > 0 ? { width, height } : undefined;
    },
    onResize(listener) {
      process.on("SIGWINCH", listener);
      return () => process.off("SIGWINCH", listener);
    },
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
