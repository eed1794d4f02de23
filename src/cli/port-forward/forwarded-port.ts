// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../usage-error.ts";

/** A port of the pod, and the one of this machine that leads to it. */
export interface ForwardedPort {
  /** 0 for any that is free. */
  readonly local: number;
  readonly remote: number;
}

const MAX_PORT = 65_535;

/** `REMOTE`, `LOCAL:REMOTE`, or `:REMOTE` for any local port that is free; UsageError for anything else. */
export function parseForwardedPort(text: string): ForwardedPort {
  const match = /^(?:(\d{0,5}):)?(\d{1,5})$/.exec(text);
  const remote = Number(match?.[2]);
  const local = match?.[1] === undefined ? remote : Number(match[1]);
  if (match !== null && remote >= 1 && remote <= MAX_PORT && local <= MAX_PORT) return { local, remote };
  throw new UsageError(
    `${text} is not [LOCAL:]REMOTE with ports from 1 to ${MAX_PORT}, as in 8080:80, 80, or :80 for any free port here`,
  );
}
