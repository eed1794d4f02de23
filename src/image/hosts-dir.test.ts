// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeAuthority } from "../../test/support/certificates.ts";
import { hostPlan } from "./registry-hosts.ts";
import { registryProblems } from "./registry-problems.ts";

const authority = makeAuthority("test authority");
const client = authority.issue(["client"]);
let certsDir: string;

beforeEach(() => {
  certsDir = mkdtempSync(join(tmpdir(), "podrt-certs-"));
});
afterEach(() => rmSync(certsDir, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(certsDir, path)), { recursive: true });
  writeFileSync(join(certsDir, path), text);
}
const plan = (host: string, registries = {}) => hostPlan(host, registries, certsDir);
const bases = (host: string) => plan(host).endpoints.map(({ base }) => base);
const problems = () =>
  registryProblems({
    certs_dir: certsDir,
    auth_file: join(certsDir, "auth.json"),
    max_concurrent_downloads: 1,
    stall_timeout_ms: 1000,
    pinned: [],
  });

test("a host has its directory with the port between underscores or after a colon, and else _default", () => {
  expect(bases("r.example:5000")).toEqual(["https://r.example:5000/v2"]);
  put("_default/hosts.toml", '[host."https://default.example"]');
  expect(bases("r.example:5000")).toEqual(["https://default.example/v2", "https://r.example:5000/v2"]);
  put("r.example:5000/hosts.toml", '[host."https://colon.example"]');
  expect(bases("r.example:5000")[0]).toBe("https://colon.example/v2");
  put("r.example_5000_/hosts.toml", '[host."https://underscore.example"]');
  expect(bases("r.example:5000")[0]).toBe("https://underscore.example/v2");
  expect(bases("r.example")[0]).toBe("https://default.example/v2");
  expect(plan("r.example").source).toBe(join(certsDir, "_default"));
});

test("a table of the configuration counts before a directory", () => {
  put("r.example/hosts.toml", '[host."https://m.example"]');
  const table = { "r.example": { mirrors: [], plain_http: true } };
  expect(plan("r.example", table)).toMatchObject({
    source: 'registries."r.example"',
    endpoints: [{ base: "http://r.example/v2" }],
  });
});

test("hosts come before the server, which is the registry itself unless named, and each once", () => {
  put("docker.io/hosts.toml", '[host."https://m.example/a/v2"]\n[host."https://registry-1.docker.io"]');
  expect(bases("docker.io")).toEqual(["https://m.example/a/v2", "https://registry-1.docker.io/v2"]);
  const { endpoints } = plan("docker.io");
  expect(endpoints.map(({ isRegistry, namespace }) => [isRegistry, namespace])).toEqual([
    [false, "docker.io"],
    [true, undefined],
  ]);
  put("r.example/hosts.toml", 'server = "https://only.example/base"\noverride_path = true');
  expect(bases("r.example")).toEqual(["https://only.example/base"]);
  expect(plan("r.example").endpoints[0]?.isRegistry).toBe(false);
});

test("plain http with settings of TLS tries https first, as containerd does", () => {
  put(
    "r.example/hosts.toml",
    '[host."http://10.0.0.1:5000"]\nskip_verify = true\n[host."http://10.0.0.2:5000"]',
  );
  expect(plan("r.example").endpoints.map(({ base, isFallback }) => [base, isFallback])).toEqual([
    ["https://10.0.0.1:5000/v2", false],
    ["http://10.0.0.1:5000/v2", true],
    ["http://10.0.0.2:5000/v2", false],
    ["https://r.example/v2", false],
  ]);
});

test("certificates are read from where hosts.toml says, relative to it or not", () => {
  put("own.crt", authority.certificate);
  put("r.example/client.cert", client.certificate);
  put("r.example/client.key", client.key);
  put(
    "r.example/hosts.toml",
    `ca = "${join(certsDir, "own.crt")}"\nclient = [["client.cert", "client.key"]]\n[header]\nx-a = "b"`,
  );
  const [endpoint] = plan("r.example").endpoints;
  expect(endpoint?.access.tls.ca?.at(-1)).toBe(authority.certificate.trim());
  expect(endpoint?.access.tls.ca?.length).toBeGreaterThan(1);
  expect(endpoint?.access.identity?.key).toBe(client.key);
  expect(endpoint?.access.headers).toEqual({ "x-a": "b" });
});

test("without hosts.toml certificates lie there as docker wants them", () => {
  put("r.example/ca.crt", authority.certificate);
  put("r.example/client.cert", client.certificate);
  put("r.example/client.key", client.key);
  const [endpoint] = plan("r.example").endpoints;
  expect(endpoint?.base).toBe("https://r.example/v2");
  expect(endpoint?.access.tls.ca?.at(-1)).toBe(authority.certificate.trim());
  expect(endpoint?.access.identity?.certificate).toBe(client.certificate.trim());
});

test.each<[string, string, string, string]>([
  ["a file of a ca that is not there", "hosts.toml", 'ca = "no.crt"', "no.crt does not exist"],
  ["a ca that is none", "ca.crt", "garbage", "ca.crt has no certificate in PEM"],
  [
    "a ca that cannot be read",
    "ca.crt",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "ca.crt has a certificate that cannot be read",
  ],
  ["a certificate without its key", "a.cert", client.certificate, "a.key does not exist"],
  ["a key without its certificate", "a.key", client.key, "a.key is the key of no certificate"],
  [
    "a certificate without a key in it",
    "hosts.toml",
    'client = "../c.pem"',
    "c.pem has no private key in PEM",
  ],
  [
    "the key of another certificate",
    "hosts.toml",
    'client = [["../c.pem", "../other.key"]]',
    "other.key has not the key of",
  ],
  ["two client certificates", "hosts.toml", 'client = ["a", "b"]', "client: names 2 certificates"],
])("%s is an error of that host and a problem of the node", (_, file, text, problem) => {
  put("c.pem", client.certificate);
  put("other.key", authority.key);
  put("good.example/hosts.toml", "");
  put(`bad.example/${file}`, text);
  expect(() => plan("bad.example")).toThrow(problem);
  expect(() => plan("bad.example")).toThrow(certsDir);
  expect(bases("good.example")).toEqual(["https://good.example/v2"]);
  expect(problems()).toEqual([expect.stringContaining(problem)]);
});

test("a file of credentials that cannot be understood is a problem of the node", () => {
  expect(problems()).toEqual([]);
  put("auth.json", "{");
  expect(problems()).toEqual([`${join(certsDir, "auth.json")} is not JSON`]);
});
