// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { quoted } from "../lib/foreign-text.ts";
import { isDigest } from "./digest.ts";

/** An image reference with every part spelled out; exactly one of `tag` and `digest` is set. */
export interface Reference {
  /** Registry host with its port, if any: `docker.io`, `127.0.0.1:5000`. */
  readonly host: string;
  /** Repository on that host: `library/nginx`. */
  readonly path: string;
  readonly tag?: string;
  readonly digest?: string;
}

export const DEFAULT_HOST = "docker.io";
const DEFAULT_TAG = "latest";
const NAME_LIMIT_CHARACTERS = 255;
const TEXT_LIMIT_CHARACTERS = 1024;

// The grammar of github.com/distribution/reference, which the OCI distribution specification shares.
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Normalises what a user wrote: the host defaults to docker.io, one bare word there lies in
 * `library/`, the tag defaults to `latest`, and a digest beside a tag decides.
 * InvalidArgumentError under the name `field` for anything else.
 */
export function parseReference(text: string, field = "image"): Reference {
  const fail = (problem: string): never => {
    throw new InvalidArgumentError(field, `${quoted(text, 300)} ${problem}`);
  };
  if (text === "") throw new InvalidArgumentError(field, "is empty; name an image, as in nginx:latest");
  if (text.length > TEXT_LIMIT_CHARACTERS) return fail(`is longer than ${TEXT_LIMIT_CHARACTERS} characters`);
  if (/^[0-9a-f]{64}$/.test(text)) return fail("is an image id, not a reference a registry knows");

  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) return fail("has a malformed digest after the @");
  const { name, tag } = splitTag(at < 0 ? text : text.slice(0, at));
  if (tag !== undefined && !TAG.test(tag)) return fail(`has a malformed tag ${quoted(tag, 130)}`);

  const { host, path } = splitHost(name);
  if (!HOST.test(host)) return fail(`names ${quoted(host, 260)}, which is no registry host`);
  const badComponent = path.split("/").find((component) => !PATH_COMPONENT.test(component));
  if (badComponent !== undefined) {
    return fail(
      /[A-Z]/.test(badComponent)
        ? "has capital letters in the repository name; write it in lower case"
        : `has a malformed repository name${path === "" ? "" : ` (${quoted(badComponent, NAME_LIMIT_CHARACTERS)})`}`,
    );
  }
  if (host.length + path.length + 1 > NAME_LIMIT_CHARACTERS) {
    return fail(`has a name longer than ${NAME_LIMIT_CHARACTERS} characters`);
  }
  return digest === undefined ? { host, path, tag: tag ?? DEFAULT_TAG } : { host, path, digest };
}

/** `host/path`, what repository tags and digests begin with. */
export function repositoryOf(reference: Reference): string {
  return `${reference.host}/${reference.path}`;
}

/** The reference as it is shown and recorded: `host/path:tag` or `host/path@digest`. */
export function formatReference(reference: Reference): string {
  const name = repositoryOf(reference);
  return reference.digest === undefined ? `${name}:${reference.tag}` : `${name}@${reference.digest}`;
}

/** A colon after the last slash starts the tag; one before it belongs to a port. */
function splitTag(text: string): { name: string; tag?: string } {
  const colon = text.indexOf(":", text.lastIndexOf("/") + 1);
  return colon < 0 ? { name: text } : { name: text.slice(0, colon), tag: text.slice(colon + 1) };
}

function splitHost(name: string): { host: string; path: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isHost = first === "localhost" || first.includes(".") || first.includes(":");
  const written = isHost ? first : DEFAULT_HOST;
  const host = written === "index.docker.io" ? DEFAULT_HOST : written;
  const path = isHost ? name.slice(slash + 1) : name;
  return { host, path: host === DEFAULT_HOST && !path.includes("/") ? `library/${path}` : path };
}
