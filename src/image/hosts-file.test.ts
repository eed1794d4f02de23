// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseHostsFile } from "./hosts-file.ts";

const parsed = (text: string) => parseHostsFile(text, "/certs.d/x/hosts.toml");

test("hosts come in the order of the file, and the server last with the settings at the top", () => {
  const { hosts, server } = parsed(`
    server = "registry-1.docker.io"
    ca = "hub.crt"
    [host."https://z.example/prefix"]
    capabilities = ["pull"]
    [host."http://a.example:5000"]
    override_path = true
    dial_timeout = "1m0.5s"
  `);
  expect(hosts.map(({ url }) => url?.href)).toEqual(["https://z.example/prefix", "http://a.example:5000/"]);
  expect(hosts[0]).toMatchObject({ canPull: true, canResolve: false, overridesPath: false });
  expect(hosts[1]).toMatchObject({
    canPull: true,
    canResolve: true,
    overridesPath: true,
    dialTimeoutMs: 60_500,
  });
  expect(server.url?.href).toBe("https://registry-1.docker.io/");
  expect(server.ca).toEqual(["hub.crt"]);
});

test("ca, client and header take each of the forms that containerd documents", () => {
  const ca = (value: string) => parsed(`ca = ${value}`).server.ca;
  expect(ca('"a.crt"')).toEqual(["a.crt"]);
  expect(ca('["a.crt", "b.crt"]')).toEqual(["a.crt", "b.crt"]);
  const client = (value: string) => parsed(`client = ${value}`).server.client;
  expect(client('"a.pem"')).toEqual([["a.pem", undefined]]);
  expect(client('["a.pem"]')).toEqual([["a.pem", undefined]]);
  expect(client('[["a.cert", "a.key"], ["b.pem", ""]]')).toEqual([
    ["a.cert", "a.key"],
    ["b.pem", undefined],
  ]);
  expect(parsed('[header]\nX-One = "1"\nx-two = ["2", "3"]').server.headers).toEqual({
    "x-one": "1",
    "x-two": "2, 3",
  });
});

test.each([
  ["srver = 'x'", "srver: is no key of a hosts.toml"],
  ["[host.'https://m.example']\nmirror = true", "host.https://m.example.mirror: is no key of a hosts.toml"],
  ["[host.'ftp://m.example']", "host.ftp://m.example: is no address of a server"],
  ["[host.'https://u:p@m.example']", "host.https://u:p@m.example: is no address of a server"],
  ["server = 'https://x.example/?a=b'", "server: is no address of a server"],
  ["capabilities = ['fly']", "capabilities.0:"],
  ["ca = 1", "ca: is neither a path nor a list of paths"],
  ["client = [['a', 'b', 'c']]", "client: is neither a path"],
  ["skip_verify = 'yes'", "skip_verify:"],
  ["dial_timeout = '3'", "dial_timeout: is no duration"],
  ["dial_timeout = '0s'", "dial_timeout:"],
  ["proxy = 'socks5://p.example'", "proxy: is no address of an http or https proxy"],
  ["[header]\n'a b' = 'x'", "header.a b: is no name of a header"],
  ['[header]\na = "x\\ny"', "header.a: is no value of a header"],
  ["[[host]]\nserver = 'https://m.example'", "host: is no table"],
  ["server =", "is not TOML"],
])("%j is refused by the name of the file and the key", (text, problem) => {
  expect(() => parsed(text)).toThrow(`/certs.d/x/hosts.toml: ${problem}`);
});

test("what is not written is the usual", () => {
  expect(parsed("")).toEqual({
    hosts: [],
    server: {
      url: undefined,
      canPull: true,
      canResolve: true,
      ca: [],
      client: [],
      skipVerify: false,
      headers: {},
      overridesPath: false,
      dialTimeoutMs: undefined,
      proxy: undefined,
    },
  });
});
