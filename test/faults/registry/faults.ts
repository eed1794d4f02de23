// SPDX-License-Identifier: Apache-2.0
import {
  broken,
  changed,
  chunked,
  type Fault,
  half,
  headed,
  headOf,
  lying,
  once,
  raw,
  redirect,
  status,
  whole,
} from "./answers.ts";

/** The requests of a pull, in their order; `resolve` is made where there is an image of the name already. */
export const steps = [
  "resolve",
  "challenge",
  "token",
  "index",
  "manifest",
  "config",
  "layer-1",
  "layer-2",
] as const;
/** `resume` is the request for the rest of a layer whose first half was sent. */
export type Step = (typeof steps)[number] | "resume";

/** How a pull ends: with the image, or with an error of a kind. */
export type Outcome = "pulled" | "Unavailable" | "FailedPrecondition" | "NotFound" | "PermissionDenied";

/** One image, served with one fault at one request. */
export interface Case {
  readonly step: Step;
  readonly name: string;
  readonly fault: Fault;
  /** Whatever of these it is depends on when bytes arrive. */
  readonly outcomes: readonly Outcome[];
}

interface Group {
  readonly faults: Readonly<Record<string, Fault>>;
  readonly outcome: Outcome;
  /** It is in the body, which the answers to `resolve` and `challenge` need not have. */
  readonly isInBody?: boolean;
  readonly but?: Partial<Record<Step, Outcome | readonly Outcome[]>>;
}

const absurd = "9".repeat(40);
/** What has come of a blob is kept, and the rest of it asked for, which here is answered with the truth. */
const resumed = { config: "pulled", "layer-1": "pulled", "layer-2": "pulled" } as const;
const eitherWay = ["pulled", "Unavailable"] as const;
const perhapsResumed = { config: eitherWay, "layer-1": eitherWay, "layer-2": eitherWay };
const refusedBlobs = {
  config: "FailedPrecondition",
  "layer-1": "FailedPrecondition",
  "layer-2": "FailedPrecondition",
} as const;

const groups: readonly Group[] = [
  {
    outcome: "Unavailable",
    faults: {
      silent: () => {},
      "silent-in-head": ({ wire }) => wire.send("HTTP/1.1 200 OK\r\nContent-Le"),
      "dripping-head": ({ truth, wire }) => wire.drip(headOf(truth.status, truth.headers).repeat(10), 50),
      "continue-for-ever": ({ wire }) => wire.drip("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), 5),
      "closes-at-once": ({ wire }) => wire.end(),
      "resets-at-once": ({ wire }) => wire.reset(),
      "closes-in-head": ({ wire }) => {
        wire.send("HTTP/1.1 200 OK\r\nContent-Le");
        wire.end();
      },
    },
  },
  {
    outcome: "Unavailable",
    isInBody: true,
    but: resumed,
    faults: {
      "silent-in-body": broken(() => {}),
      "dripping-body": broken((wire, rest) => wire.drip(rest, 1000)),
    },
  },
  {
    outcome: "Unavailable",
    isInBody: true,
    but: perhapsResumed,
    faults: {
      "resets-in-body": broken((wire) => void setTimeout(wire.reset, 20)),
      truncated: broken((wire) => wire.end()),
      "truncated-chunk": raw(
        () => "Transfer-Encoding: chunked\r\n",
        (truth) => Buffer.concat([Buffer.from("fffff\r\n"), half(truth)]),
      ),
      "no-last-chunk": raw(() => "Transfer-Encoding: chunked\r\n", chunked),
      "bad-chunk": raw(
        () => "Transfer-Encoding: chunked\r\n",
        () => Buffer.from("zz\r\nzz\r\n"),
      ),
    },
  },
  {
    outcome: "Unavailable",
    isInBody: true,
    but: refusedBlobs,
    faults: { "announces-more": raw(({ body }) => `Content-Length: ${body.length + 7}\r\n`) },
  },
  {
    outcome: "FailedPrecondition",
    isInBody: true,
    faults: {
      "truncated-unannounced": raw(() => "", half),
      "too-much": raw(
        () => "",
        ({ body }) => Buffer.concat([body, Buffer.alloc(100_000)]),
      ),
      "announces-less": headed(({ body }) => ({ "content-length": String(body.length >> 1) })),
      empty: lying(() => ({ body: new Uint8Array() })),
    },
  },
  {
    outcome: "FailedPrecondition",
    but: { challenge: "pulled", token: "PermissionDenied" },
    faults: { "changed-content": lying((truth) => ({ body: changed(truth) })) },
  },
  {
    outcome: "pulled",
    but: refusedBlobs,
    faults: {
      "length-and-chunks": raw(
        () => "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        (truth) => Buffer.concat([chunked(truth), Buffer.from("0\r\n\r\n")]),
      ),
    },
  },
  {
    outcome: "pulled",
    but: { index: "FailedPrecondition" },
    faults: {
      "wrong-digest-header": headed(() => ({ "docker-content-digest": `sha256:${"0".repeat(64)}` })),
    },
  },
  {
    outcome: "pulled",
    faults: {
      "resets-once": once(({ wire }) => wire.reset()),
      // At once, since what comes later could be taken for the answer to a request that is on its way.
      "more-than-announced": lying(({ headers, body }) => ({
        headers: { ...headers, "content-length": String(body.length) },
        body: Buffer.concat([body, Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")]),
      })),
      "two-equal-lengths": raw(({ body }) => `Content-Length: ${body.length}\r\n`.repeat(2)),
      "malformed-digest-header": headed(() => ({ "docker-content-digest": "../../etc/passwd" })),
      "another-type": headed(() => ({ "content-type": "text/html; charset=latin1" })),
      "claims-compression": headed(() => ({ "content-encoding": "gzip" })),
      "claims-unknown-compression": headed(() => ({ "content-encoding": "br, x-nonsense" })),
      "huge-header": headed(() => ({ "x-huge": "x".repeat(1 << 20) })),
      "429-once": once(status(429, { "retry-after": "0" })),
      "500-once": once(status(500)),
      "502-once": once(status(502)),
      "503-once": once(status(503)),
    },
  },
  {
    outcome: "Unavailable",
    faults: {
      "no-http": ({ wire }) => {
        wire.send("220 ftp.example ready\r\n");
        wire.end();
      },
      "http-0.9": ({ wire }) => {
        wire.send("<html>Log in</html>");
        wire.end();
      },
      "http-9": ({ wire }) => {
        wire.send("HTTP/9.9 200 OK\r\n\r\n");
        wire.end();
      },
      "garbled-type": headed(() => ({ "content-type": "\x01\xff;;;,/" })),
      "thousands-of-headers": headed(() =>
        Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`x-${i}`, ""])),
      ),
      "announces-nonsense": raw(() => "Content-Length: -5\r\n"),
      "announces-the-absurd": raw(() => `Content-Length: ${absurd}\r\n`),
      "switches-protocols": status(101, { upgrade: "nonsense", connection: "upgrade" }),
      "429-for-ever": status(429),
      "429-for-a-year": status(429, { "retry-after": "31536000" }),
      "429-for-ages": status(429, { "retry-after": absurd }),
      "429-until-the-year-9999": status(429, { "retry-after": "Fri, 31 Dec 9999 23:59:59 GMT" }),
      "429-until-1970": status(429, { "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT" }),
      "429-with-nonsense": status(429, { "retry-after": "-1e9, soon" }),
      "500-for-ever": status(500),
      "502-for-ever": status(502),
      "503-for-ever": status(503),
      "redirects-to-a-closed-port": redirect(() => "http://127.0.0.1:1/"),
    },
  },
  {
    outcome: "Unavailable",
    but: { resolve: "pulled" },
    faults: {
      "two-lengths": raw(({ body }) => `Content-Length: ${body.length}\r\nContent-Length: 3\r\n`, whole),
    },
  },
  {
    outcome: "FailedPrecondition",
    faults: {
      "html-page": lying(() => ({
        status: 200,
        headers: { "content-type": "text/html" },
        body: Buffer.from("<html>Log in</html>"),
      })),
      "no-content": status(204),
      "partial-unasked": lying(({ headers }) => ({
        status: 206,
        headers: { ...headers, "content-range": "bytes 0-3/4" },
      })),
      "not-modified": status(304),
      "410": status(410),
      "418": status(418),
      "599": status(599),
      "redirects-to-itself": redirect(({ origin, request }) => `${origin}${request.target}`),
      "redirects-for-ever": redirect(({ request, turn }) =>
        request.target.replace(/^([^?]*)\??(.*?)(&turn=.*)?$/, `$1?$2&turn=${turn}`),
      ),
      "redirects-nowhere": status(307),
      "redirects-to-a-file": redirect(() => "file:///etc/shadow"),
      "redirects-to-nonsense": redirect(() => "http://[:::::"),
      "redirects-with-a-user": redirect(({ origin }) => origin.replace("://", "://root:secret@")),
    },
  },
  { outcome: "NotFound", but: { token: "FailedPrecondition" }, faults: { "404": status(404) } },
  {
    outcome: "PermissionDenied",
    faults: {
      "401-without-challenge": status(401),
      "401-with-nonsense": status(401, { "www-authenticate": 'Digest realm=",,,=",=====", qop="auth' }),
      "403": status(403),
    },
  },
  {
    outcome: "PermissionDenied",
    but: { challenge: "pulled" },
    faults: {
      "401-for-ever": (asked) =>
        status(401, { "www-authenticate": `Bearer realm="${asked.origin}/token"` })(asked),
    },
  },
];

/** Answers to a request for the rest of a blob. A server that cannot do that may send all of it. */
const resumeFaults: Readonly<Record<string, readonly [Outcome, Fault]>> = {
  "range-not-satisfiable": ["pulled", status(416, { "content-range": "bytes */1" })],
  "another-range": [
    "pulled",
    headed(({ body }) => ({ "content-range": `bytes 1-${body.length}/${body.length + 1}` })),
  ],
  "another-total": [
    "pulled",
    headed(({ headers }) => ({ "content-range": String(headers["content-range"]).replace(/\d+$/, "1") })),
  ],
  "nonsense-range": ["pulled", headed(() => ({ "content-range": "bytes all-of/it" }))],
  "no-range": ["pulled", lying(({ headers: { "content-range": _, ...headers } }) => ({ headers }))],
  "a-range-too-long": ["FailedPrecondition", lying(({ body }) => ({ body: Buffer.concat([body, body]) }))],
  "a-range-that-is-changed": ["FailedPrecondition", lying((truth) => ({ body: changed(truth) }))],
  "resets-again": ["Unavailable", ({ wire }) => wire.reset()],
};

function outcomesAt(step: Step, { outcome, isInBody = false, but = {} }: Group): readonly Outcome[] {
  const wanted = but[step];
  if (wanted !== undefined) return typeof wanted === "string" ? [wanted] : wanted;
  if (isInBody && (step === "challenge" || step === "resolve")) return ["pulled"];
  // Whoever does not say what a tag means is asked for the manifest itself.
  return step === "resolve" && /NotFound|FailedPrecondition/.test(outcome) && !isInBody
    ? ["pulled"]
    : [outcome];
}

/** Every fault at every request. */
export const allCases: readonly Case[] = [
  ...groups.flatMap((group) =>
    Object.entries(group.faults).flatMap(([name, fault]) =>
      steps.map((step) => ({ step, name, fault, outcomes: outcomesAt(step, group) })),
    ),
  ),
  ...Object.entries(resumeFaults).map(([name, [outcome, fault]]) => ({
    step: "resume" as const,
    name,
    fault,
    outcomes: [outcome],
  })),
];
