// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareImages } from "../fixtures/images/prepare.ts";
import { type Registry, startRegistry } from "../fixtures/images/registry.ts";
import { makeAuthority } from "../support/certificates.ts";
import { patience } from "../support/patience.ts";
import { runCommand } from "./harness/command.ts";
import { binary, type Daemon, startDaemon } from "./harness/daemon.ts";

/*
 * Registries configured by directories of containerd's form, against Debian's docker-registry with TLS, client
 * certificates and passwords. The daemon is started once: whatever a test writes counts without a restart.
 */

setDefaultTimeout(60_000 * patience);

const password = "pa55word-of-the-file";
const image = "library/busybox:latest";
const authority = makeAuthority("podrt's test authority");
const server = authority.issue(["localhost", "127.0.0.1"]);
const client = authority.issue(["a client"]);
let scratch: string;
let daemon: Daemon;
/** Wants a client certificate. */
let strict: Registry;
/** Wants a password. */
let guarded: Registry;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "podrt-registries-"));
  const file = (name: string, text: string) => {
    writeFileSync(join(scratch, name), text);
    return join(scratch, name);
  };
  const ca = file("ca.crt", authority.certificate);
  const tls = { certificate: file("server.crt", server.certificate), key: file("server.key", server.key) };
  const hash = await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });
  const { storageDir } = await prepareImages();
  const options = { storageDir, readOnly: true };
  strict = await startRegistry({ ...options, tls: { ...tls, clientAuthority: ca } });
  guarded = await startRegistry({ ...options, tls, htpasswd: file("htpasswd", `reader:${hash}\n`) });
  daemon = await startDaemon();
});

afterAll(async () => {
  try {
    await daemon?.close();
  } finally {
    await strict?.[Symbol.asyncDispose]();
    await guarded?.[Symbol.asyncDispose]();
    rmSync(scratch, { recursive: true, force: true });
  }
});

beforeEach(() => {
  rmSync(join(daemon.root, "certs.d"), { recursive: true, force: true });
  rmSync(join(daemon.root, "auth.json"), { force: true });
});

function put(path: string, text: string): void {
  const file = join(daemon.root, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, text);
}

const directoryOf = (host: string) => `certs.d/${host.replace(":", "_")}_`;
const putAuth = (host: string, words: string) =>
  put("auth.json", JSON.stringify({ auths: { [host]: { auth: btoa(words) } } }));

async function pull(name: string, auth?: object): Promise<string> {
  await daemon.api.removeImage({ image: { image: name } });
  return daemon.api.pullImage({ image: { image: name }, ...(auth && { auth }) } as never).then(
    () => "pulled",
    (error: Error) => error.message,
  );
}

const condition = async () =>
  (await daemon.api.status({})).status?.conditions.find(({ type }) => type === "RegistriesReady");

test("a private authority and a client certificate are taken from the directory as docker wants them", async () => {
  const name = `${strict.host}/${image}`;
  expect(await pull(name)).toContain("has a certificate that cannot be trusted");
  put(`${directoryOf(strict.host)}/ca.crt`, authority.certificate);
  expect(await pull(name)).toContain("wants another client certificate");
  put(`${directoryOf(strict.host)}/client.cert`, client.certificate);
  put(`${directoryOf(strict.host)}/client.key`, client.key);
  expect(await pull(name)).toBe("pulled");
});

test("a short name of docker.io comes from the first mirror of hosts.toml that has it", async () => {
  put("certs.d/docker.io/client.pem", client.certificate + client.key);
  put(
    "certs.d/docker.io/hosts.toml",
    `server = "https://127.0.0.1:1"
[host."http://127.0.0.1:1"]
dial_timeout = "5s"
[host."https://${strict.host}"]
capabilities = ["pull", "resolve"]
skip_verify = true
client = "client.pem"
`,
  );
  expect(await pull("busybox")).toBe("pulled");
  const { image: found } = await daemon.api.imageStatus({ image: { image: "busybox" } });
  expect(found?.repoTags).toContain(`docker.io/${image}`);
});

test("hosts without a directory have _default's", async () => {
  put("certs.d/_default/ca.crt", authority.certificate);
  put("certs.d/_default/hosts.toml", `[host."https://${guarded.host}"]\nca = "ca.crt"\n`);
  putAuth(guarded.host, `reader:${password}`);
  expect(await pull(`registry.example/${image}`)).toBe("pulled");
});

test("credentials come from the file for the host that it names, the request's count first", async () => {
  const name = `${guarded.host}/${image}`;
  put(`${directoryOf(guarded.host)}/hosts.toml`, "skip_verify = true");
  expect(await pull(name)).toContain("asks for credentials, and none were given for it");
  putAuth(guarded.host, "reader:wrong");
  expect(await pull(name)).toContain("does not accept the credentials given");
  expect(await pull(name, { username: "reader", password })).toBe("pulled");
  putAuth(guarded.host, `reader:${password}`);
  expect(await pull(name)).toBe("pulled");
  expect(await pull(name, { username: "reader", password: "wrong" })).toContain("does not accept");
  expect(daemon.log()).not.toContain(password);
});

test("an unknown key is an error of its host and a condition of the node; other hosts work on", async () => {
  put(`${directoryOf(strict.host)}/hosts.toml`, "skip_verfy = true");
  put(`${directoryOf(guarded.host)}/hosts.toml`, "skip_verify = true");
  const problem = `${join(daemon.root, directoryOf(strict.host), "hosts.toml")}: skip_verfy: is no key of a hosts.toml`;
  expect(await pull(`${strict.host}/${image}`)).toContain(problem);
  expect(await condition()).toMatchObject({
    status: false,
    reason: "RegistryConfigurationInvalid",
    message: problem,
  });
  expect(await pull(`${guarded.host}/${image}`, { username: "reader", password })).toBe("pulled");
  put(`${directoryOf(strict.host)}/hosts.toml`, "skip_verify = true");
  expect(await condition()).toBeUndefined();
});

test("podrt registry check says of each server what works, and what to do where it does not", async () => {
  const check = (...args: string[]) =>
    runCommand(binary, ["registry", "check", "--root", daemon.root, ...args]);
  const untrusted = await check(guarded.host);
  expect(untrusted.code).toBe(1);
  expect(untrusted.stdout).toContain("name that as ca in hosts.toml");
  expect(untrusted.stdout).toContain("issued by podrt's test authority");

  put(
    "certs.d/docker.io/hosts.toml",
    `server = "https://${guarded.host}"\nskip_verify = true\n[host."http://127.0.0.1:1"]\n`,
  );
  putAuth(guarded.host, `reader:${password}`);
  const usable = await check("docker.io", "-o", "json");
  expect(usable.code).toBe(0);
  const report = JSON.parse(usable.stdout) as {
    source: string;
    verdict: string;
    endpoints: { url: string; isOk: boolean; steps: { step: string; isOk: boolean; text: string }[] }[];
  };
  expect(report.source).toBe(join(daemon.root, "certs.d/docker.io"));
  expect(report.verdict).toStartWith("images of docker.io can be pulled, but 1 of 2 servers fail");
  expect(report.endpoints.map(({ url, isOk }) => [url, isOk])).toEqual([
    ["http://127.0.0.1:1/v2", false],
    [`https://${guarded.host}/v2`, true],
  ]);
  expect(report.endpoints[1]?.steps.map(({ step }) => step)).toEqual([
    "dns",
    "connect",
    "tls",
    "api",
    "auth",
  ]);
  expect(report.endpoints[1]?.steps.at(-1)?.text).toBe(
    `accepts the credentials of ${join(daemon.root, "auth.json")}`,
  );

  putAuth(guarded.host, "reader:wrong");
  const refused = await check("docker.io");
  expect(refused.code).toBe(1);
  expect(refused.stdout).toContain("does not accept the credentials");
  expect((await check("bare-word")).code).toBe(2);
  expect(usable.stdout + refused.stdout).not.toContain(password);
});
