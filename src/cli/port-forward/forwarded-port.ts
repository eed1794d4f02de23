// SPDX-License-Identifier: Apache-2.0
import { portName } from "../../kube/manifest/names.ts";
import { UsageError } from "../usage-error.ts";

/** A port of the pod or Service, as a number or by its name, and the one of this machine that leads to it. */
export interface ForwardedPort {
  /** 0 for any that is free; undefined for the same number. */
  readonly local: number | undefined;
  readonly remote: number | string;
}

const MAX_PORT = 65_535;

/** `REMOTE`, `LOCAL:REMOTE`, or `:REMOTE` for any local port that is free; UsageError for anything else. */
export function parseForwardedPort(text: string): ForwardedPort {
  const match = /^(?:(\d{0,5}):)?([^:]+)$/.exec(text);
  const remote = remoteOf(match?.[2] ?? "");
  const local = match?.[1] === undefined ? undefined : Number(match[1]);
  if (remote !== undefined && (local ?? 0) <= MAX_PORT) return { local, remote };
  throw new UsageError(
    `${text} is not [LOCAL:]REMOTE with ports from 1 to ${MAX_PORT} or the name of a port, as in 8080:80, 80, 8080:http, or :80 for any free port here`,
  );
}

function remoteOf(text: string): number | string | undefined {
  if (!/^\d+$/.test(text)) return portName(text) === undefined ? text : undefined;
  const number = text.length > 5 ? 0 : Number(text);
  return number >= 1 && number <= MAX_PORT ? number : undefined;
}
