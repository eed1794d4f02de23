// SPDX-License-Identifier: Apache-2.0
import { createPrivateKey, X509Certificate } from "node:crypto";
import { getCACertificates } from "node:tls";
import { FailedPreconditionError } from "../errors.ts";
import { readConfigurationFile } from "./configuration-file.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** A client certificate with its chain and key, in PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** Everything that TLS is to trust: what the machine trusts, and the certificates in these files. */
export function trustWith(files: readonly string[]): string[] {
  return [...getCACertificates("default"), ...files.flatMap(certificatesIn)];
}

/** A client's certificate, and its key from the same file unless there is another. */
export function readIdentity(certificateFile: string, keyFile = certificateFile): Identity {
  const certificate = certificatesIn(certificateFile).join("\n");
  const key = required(keyFile);
  let fits: boolean;
  try {
    fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new FailedPreconditionError(`${keyFile} has no private key in PEM`);
  }
  if (!fits) throw new FailedPreconditionError(`${keyFile} has not the key of ${certificateFile}`);
  return { certificate, key };
}

function certificatesIn(file: string): string[] {
  const found = required(file).match(CERTIFICATE) ?? [];
  if (found.length === 0) throw new FailedPreconditionError(`${file} has no certificate in PEM`);
  for (const certificate of found) {
    try {
      new X509Certificate(certificate);
    } catch {
      throw new FailedPreconditionError(`${file} has a certificate that cannot be read`);
    }
  }
  return found;
}

function required(file: string): string {
  const text = readConfigurationFile(file);
  if (text === undefined) throw new FailedPreconditionError(`${file} does not exist`);
  return text;
}
