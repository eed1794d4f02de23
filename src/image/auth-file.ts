// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { readConfigurationFile } from "./configuration-file.ts";
import { credentialsFor, type RegistryAuth } from "./registry-auth.ts";
import { canonicalHost } from "./registry-hosts.ts";

/*
 * Credentials in the file that `docker login` and `podman login` write: config.json, or auth.json with keys that may
 * name a part of a registry (containers-auth.json(5)). It has more than that in it, which is none of podrt's business.
 */

const text = v.optional(v.string());
const authFileSchema = v.object({
  auths: v.optional(
    v.record(
      v.string(),
      v.object({ auth: text, username: text, password: text, identitytoken: text, registrytoken: text }),
    ),
    {},
  ),
  credHelpers: v.optional(v.record(v.string(), v.string()), {}),
  credsStore: text,
});

/**
 * The credentials that `file` has for `repository` at `host`, those of the longest key that fits. Undefined where it
 * has none, or does not exist. FailedPreconditionError for a file that cannot be understood, and where it leaves the
 * answer to a helper program.
 */
export function authFromFile(file: string, host: string, repository = ""): RegistryAuth | undefined {
  const content = readAuthFile(file);
  return content === undefined ? undefined : authFrom(content, file, host, repository);
}

/** As `authFromFile`, from what such a file holds; `what` is how messages call it. */
export function authFromText(
  text: string,
  what: string,
  host: string,
  repository: string,
): RegistryAuth | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new FailedPreconditionError(`${what} is not JSON; write it as docker login does`);
  }
  const read = v.safeParse(authFileSchema, content);
  if (!read.success) {
    throw new FailedPreconditionError(`${what} does not hold credentials as docker login writes them`);
  }
  return authFrom(read.output, what, host, repository);
}

type AuthFile = v.InferOutput<typeof authFileSchema>;

function authFrom(
  { auths, credHelpers, credsStore }: AuthFile,
  file: string,
  host: string,
  repository: string,
): RegistryAuth | undefined {
  const address = canonicalHost(host);
  const fits = (key: string) => {
    const { host: keyHost, prefix } = keyParts(key);
    return keyHost === address && (prefix === "" || `${repository}/`.startsWith(`${prefix}/`));
  };
  const [key] = Object.keys(auths)
    .filter(fits)
    .sort((a, b) => b.length - a.length);
  const found = key === undefined ? undefined : auths[key];
  const isThere = found !== undefined && Object.values(found).some((value) => value);
  const helper = Object.keys(credHelpers).some(fits) || (found !== undefined && credsStore !== undefined);
  if (!isThere && helper) {
    throw new FailedPreconditionError(
      `${file} leaves the credentials for ${host} to a helper program, and podrt executes none; put them into the file`,
    );
  }
  if (found === undefined || !isThere) return undefined;
  const { auth, username, password, identitytoken: identityToken, registrytoken: registryToken } = found;
  const credentials = { auth, username, password, identityToken, registryToken } as RegistryAuth;
  try {
    credentialsFor(credentials, host);
  } catch (error) {
    throw new FailedPreconditionError(`${file}: auths.${key}: ${messageOf(error)}`);
  }
  return credentials;
}

/** `https://index.docker.io/v1/` names a host, `quay.io/team` a host and how repositories there begin. */
function keyParts(key: string): { host: string; prefix: string } {
  const slash = /^[a-z]+:\/\//i.test(key) ? -1 : key.indexOf("/");
  return { host: canonicalHost(key), prefix: slash < 0 ? "" : key.slice(slash + 1).replace(/\/+$/, "") };
}

/** The whole file; undefined where there is none, FailedPreconditionError where it cannot be understood. */
export function readAuthFile(file: string): v.InferOutput<typeof authFileSchema> | undefined {
  const content = readConfigurationFile(file);
  if (content === undefined) return undefined;
  let document: unknown;
  try {
    document = JSON.parse(content);
  } catch {
    // The parser's own words would quote the file, and with it secrets.
    throw new FailedPreconditionError(`${file} is not JSON`);
  }
  const result = v.safeParse(authFileSchema, document);
  if (result.success) return result.output;
  const path = result.issues[0].path?.map(({ key }) => String(key)).join(".");
  throw new FailedPreconditionError(
    `${file} has no credentials as docker login writes them: ${path ?? "document"}`,
  );
}
