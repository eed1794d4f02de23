// SPDX-License-Identifier: Apache-2.0
import { timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

/*
 * Who may read the page. Other sites that are open in the same browser can send requests to loopback, and can make a
 * name of their own mean 127.0.0.1 (DNS rebinding): then the browser takes the answer for theirs. They do not know the
 * token, and their name stands in Host. Other users of the machine can connect too, and do not know the token.
 */

export interface Asked {
  readonly method?: string | undefined;
  /** Path and query. */
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export interface Refusal {
  readonly status: 400 | 403 | 405;
  readonly sentence: string;
}

/** Of a forwarded port, as with `ssh -L`, the number is another one. */
const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i;

/** What is asked for below the token, as in `events`; or why it is refused. */
export function admitted({ method, url = "", headers }: Asked, token: string): string | Refusal {
  const { host = "", origin } = headers;
  if (!LOOPBACK_HOST.test(host)) {
    return {
      status: 403,
      sentence: "the dashboard answers to 127.0.0.1 and localhost only, whoever sent you here",
    };
  }
  if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`) {
    return { status: 403, sentence: "another site may not read the dashboard" };
  }
  if (method !== "GET" && method !== "HEAD") return { status: 405, sentence: "the dashboard only shows" };
  const [, given = "", name, ...rest] = url.split("?", 1)[0]!.split("/");
  if (!isSame(given, token)) {
    return {
      status: 403,
      sentence: "open the address that `podrt dashboard` has printed, with all of its letters",
    };
  }
  // A page may be left for by a link from anywhere, what belongs to it is asked for by the page alone.
  const site = headers["sec-fetch-site"];
  if (name !== "" && site !== undefined && site !== "same-origin" && site !== "none") {
    return { status: 403, sentence: "another site may not read the dashboard" };
  }
  if (name === undefined || rest.length > 0) {
    return { status: 400, sentence: "the address of the dashboard ends with a slash" };
  }
  return name;
}

/** In the same time whatever the letters are. */
function isSame(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}
