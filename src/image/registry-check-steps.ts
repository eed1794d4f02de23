// SPDX-License-Identifier: Apache-2.0
import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { messageOf, PodrtError, UnavailableError } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { wordsIn } from "./registry-answer.ts";
import { type Access, addressOf } from "./registry-transport.ts";

const DAY_MS = 86_400_000;

/** What a certificate's verification may come to, and what to do. */
const UNTRUSTED: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "has expired",
  CERT_NOT_YET_VALID: "is not valid yet",
  ERR_TLS_CERT_ALTNAME_INVALID: "is for other names",
  DEPTH_ZERO_SELF_SIGNED_CERT: "is self-signed: name it as ca in hosts.toml",
  SELF_SIGNED_CERT_IN_CHAIN: "comes from an authority that is not trusted: name that as ca in hosts.toml",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "comes from an authority that is not trusted: name that as ca in hosts.toml",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "comes from an authority that is not trusted: name that as ca in hosts.toml",
};

/** The addresses of a server, in words; UnavailableError when there are none. */
export async function lookUpStep(url: URL, limitMs: number): Promise<string> {
  const { host: name } = addressOf(url);
  if (isIP(name) !== 0) return `${name} is an address`;
  try {
    const found = await withDeadline(lookup(name, { all: true }), limitMs, `looking up ${name}`);
    return `${name} has ${found.map(({ address }) => address).join(", ")}`;
  } catch (error) {
    if (error instanceof PodrtError) throw error;
    throw new UnavailableError(`${name} has no address (${codeOf(error)})`, { cause: error });
  }
}

/** Whether anything listens there. */
export async function connectStep(url: URL, limitMs: number): Promise<string> {
  const socket = connectTcp(addressOf(url));
  try {
    await opened(socket, "connect", limitMs, url.host);
    return `${socket.remoteAddress} port ${socket.remotePort}`;
  } finally {
    socket.destroy();
  }
}

/** The certificate that is shown there; UnavailableError unless it is to be trusted. */
export async function tlsStep(url: URL, { tls, identity }: Access, limitMs: number): Promise<string> {
  const address = addressOf(url);
  const options: ConnectionOptions = {
    ...address,
    ...(isIP(address.host) === 0 ? { servername: address.host } : {}),
    ...(tls.ca === undefined ? {} : { ca: [...tls.ca] }),
    ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.key }),
    // Looked at below: a certificate that cannot be trusted is to be described too.
    rejectUnauthorized: false,
  };
  const socket = connectTls(options);
  try {
    await opened(socket, "secureConnect", limitMs, url.host);
    const facts = `${socket.getProtocol()}, ${certificateOf(socket)}`;
    if (tls.rejectUnauthorized === false) return `${facts}, not verified (skip_verify)`;
    if (socket.authorized) return facts;
    const code = String(
      (socket.authorizationError as { code?: unknown } | null)?.code ?? socket.authorizationError,
    );
    throw new UnavailableError(
      `the certificate of ${url.host} ${UNTRUSTED[code] ?? "cannot be trusted"} (${code}; ${facts})`,
    );
  } finally {
    socket.destroy();
  }
}

function certificateOf(socket: TLSSocket): string {
  const { subject, issuer, subjectaltname, valid_to, fingerprint256 } = socket.getPeerCertificate();
  const until = new Date(valid_to);
  const days = Math.floor((until.getTime() - Date.now()) / DAY_MS);
  return [
    `certificate of ${wordsIn(subject?.CN ?? "nobody")} for ${wordsIn(subjectaltname ?? "no names")}`,
    `issued by ${wordsIn(issuer?.CN ?? issuer?.O ?? "nobody")}`,
    `valid until ${until.toISOString().slice(0, 10)} (${days} days)`,
    `SHA-256 ${fingerprint256}`,
  ].join(", ");
}

function opened(socket: Socket, event: "connect" | "secureConnect", limitMs: number, host: string) {
  const open = new Promise<void>((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.once("error", (error) =>
      reject(
        new UnavailableError(
          `${host} ${event === "connect" ? "cannot be reached" : "does not speak TLS"} (${codeOf(error)})`,
        ),
      ),
    );
    socket.once("close", () => reject(new UnavailableError(`${host} closed the connection`)));
  });
  return withDeadline(open, limitMs, `connecting to ${host}`);
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? messageOf(error));
}
