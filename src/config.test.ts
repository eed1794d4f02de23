// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig, parseConfig } from "./config.ts";
import { pathsFor } from "./paths.ts";

function image(text: string) {
  return parseConfig(`[image]\n${text}`, "", "config.toml").image;
}

test("image references are kept in their normal form, beginnings as they are", () => {
  expect(image('sandbox_image = "pause"').sandbox_image).toBe("docker.io/library/pause:latest");
  expect(image('pinned = ["pause:3", "registry.local/infra/*"]').pinned).toEqual([
    "docker.io/library/pause:3",
    "registry.local/infra/*",
  ]);
  expect(image("")).toMatchObject({ pinned: [] });
});

test("what is no image reference is refused with its place", () => {
  expect(() => image('sandbox_image = "UPPER"')).toThrow(/^config\.toml: image\.sandbox_image: .*capital/);
  expect(() => image('pinned = ["ok", "*"]')).toThrow(/^config\.toml: image\.pinned\.1: /);
});

test("runtime handlers have names of their own and programs with absolute paths", () => {
  const runtimes = (text: string) => parseConfig(text, "", "config.toml").runtimes;
  expect(runtimes("")).toEqual({});
  expect(runtimes('[runtimes.runc]\ntype = "oci"\npath = "/usr/sbin/runc"')).toEqual({
    runc: { type: "oci", path: "/usr/sbin/runc" },
  });
  for (const [text, problem] of [
    ['[runtimes.podrt]\ntype = "oci"\npath = "/x"', "runtimes.podrt: is no name of a handler, or taken"],
    ['[runtimes.A_b]\ntype = "oci"\npath = "/x"', "runtimes.A_b: is no name"],
    ['[runtimes.a]\ntype = "vm"\npath = "/x"', "runtimes.a.type: "],
    ['[runtimes.a]\ntype = "oci"\npath = "runc"', "runtimes.a.path: is no absolute path"],
    ['[runtimes.a]\ntype = "oci"\npath = "/x"\noptions = 1', "runtimes.a.options: "],
  ] as const) {
    expect(() => runtimes(text)).toThrow(`config.toml: ${problem}`);
  }
});

test("what configures registries lies beside the configuration unless told", () => {
  const beside = parseConfig("", "", "/tmp/config.toml", "/etc/podrt").image;
  expect([beside.certs_dir, beside.auth_file]).toEqual(["/etc/podrt/certs.d", "/etc/podrt/auth.json"]);
  expect(image('certs_dir = "/etc/containerd/certs.d"').certs_dir).toBe("/etc/containerd/certs.d");
});

test("plugins of the Node Resource Interface connect only where that is enabled", () => {
  const nri = (text: string) => parseConfig(`[nri]\n${text}`, "", "config.toml").nri;
  expect(nri("")).toEqual({
    enabled: false,
    plugin_path: "/opt/nri/plugins",
    plugin_config_path: "/etc/nri/conf.d",
    registration_timeout_ms: 5000,
    request_timeout_ms: 2000,
  });
  expect(parseConfig("", "1234abcd", "/x/config.toml").nri).toMatchObject({
    plugin_path: "/x/nri/plugins",
    plugin_config_path: "/x/nri/conf.d",
  });
  expect(nri('plugin_path = ""')).toMatchObject({ plugin_path: "" });
  expect(() => nri('plugin_path = "plugins"')).toThrow("config.toml: nri.plugin_path: ");
  expect(nri('enabled = true\nsocket = "/run/n.sock"')).toMatchObject({
    enabled: true,
    socket: "/run/n.sock",
  });
  expect(() => nri('socket = "n.sock"')).toThrow("config.toml: nri.socket: is no absolute path");
  expect(() => nri("request_timeout_ms = 0")).toThrow("nri.request_timeout_ms");
});

test("streams are served on loopback, on any port unless told", () => {
  const streaming = (text: string) => parseConfig(`[streaming]\n${text}`, "", "config.toml").streaming;
  expect(parseConfig("", "", "config.toml").streaming).toEqual({ address: "127.0.0.1", port: 0 });
  expect(streaming('address = "::1"\nport = 10010')).toEqual({ address: "::1", port: 10010 });
  for (const address of ["0.0.0.0", "::", "10.0.0.1", "localhost", "127.1", ""]) {
    expect(() => streaming(`address = "${address}"`)).toThrow(
      "config.toml: streaming.address: is no loopback address",
    );
  }
  expect(() => streaming("port = 65536")).toThrow("streaming.port");
});

test("metrics are served where a port is set, on loopback unless told otherwise", () => {
  const metrics = (text: string) => parseConfig(`[metrics]\n${text}`, "", "config.toml").metrics;
  expect(metrics("")).toEqual({ address: "127.0.0.1", port: undefined });
  expect(metrics('address = "::1"\nport = 9327')).toEqual({ address: "::1", port: 9327 });
  expect(metrics('address = "0.0.0.0"\nport = 1\nany_address = true').address).toBe("0.0.0.0");
  expect(() => metrics('address = "10.0.0.1"\nport = 1')).toThrow(
    "config.toml: metrics.address: 10.0.0.1 is no loopback address; set metrics.any_address",
  );
  expect(() => metrics('address = "localhost"')).toThrow("metrics.address: is no IP address");
});

test("the log has a level and a format", () => {
  const log = (text: string) => parseConfig(`[log]\n${text}`, "", "config.toml").log;
  expect(log("")).toEqual({ level: "info", format: "json" });
  expect(log('level = "debug"\nformat = "logfmt"')).toEqual({ level: "debug", format: "logfmt" });
  expect(() => log('level = "loud"')).toThrow("config.toml: log.level: ");
  expect(() => log('format = "xml"')).toThrow("config.toml: log.format: ");
});

test("pods have one subnet, or a list of one of each family; a cluster's where none is given", () => {
  const network = (text: string) => parseConfig(`[network]\n${text}`, "", "config.toml").network;
  expect(network("")).toMatchObject({ subnets: ["10.85.0.0/16"], followsPodCidr: true });
  expect(network('subnet = "fd00::/64"')).toMatchObject({ subnets: ["fd00::/64"], followsPodCidr: false });
  expect(network('subnet = ["fd00::/64", "10.1.0.0/16"]').subnets).toEqual(["fd00::/64", "10.1.0.0/16"]);
  for (const [text, problem] of [
    ['subnet = "10.1.0.0"', "network.subnet: is no subnet as in 10.85.0.0/16 or fd00:85::/64"],
    ['subnet = ["10.1.0.0/16", "fd00::%eth0/64"]', "network.subnet.1: is no subnet"],
    ["subnet = []", "network.subnet: is no list of one subnet of each family at most"],
    ['subnet = ["10.1.0.0/16", "fd00::/64", "fd01::/64"]', "network.subnet: is no list of one"],
    ["subnet = 10", "network.subnet: "],
  ] as const) {
    expect(() => network(text)).toThrow(`config.toml: ${problem}`);
  }
});

test("names of pods are answered unless that is turned off, others by the servers that are given", () => {
  const dns = (text: string) => parseConfig(`[dns]\n${text}`, "", "config.toml").dns;
  expect(dns("")).toEqual({ enabled: true });
  expect(dns("enabled = false").enabled).toBeFalse();
  const upstreams = ["192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53"];
  expect(dns('upstreams = ["2001:db8::1"]').upstreams).toEqual(["2001:db8::1"]);
  expect(dns(`upstreams = ${JSON.stringify(upstreams)}`).upstreams).toEqual(upstreams);
  for (const bad of ["dns.example", "192.0.2.1:0", "192.0.2.1:70000", "[192.0.2.1]:53", "fe80::1%eth0", ""]) {
    expect(() => dns(`upstreams = ["${bad}"]`)).toThrow("dns.upstreams.0: is no address as in 192.0.2.1");
  }
  expect(() => dns(`upstreams = ${JSON.stringify([...upstreams, "192.0.2.2"])}`)).toThrow("dns.upstreams: ");
});

test("each cgroup driver has its own place for pods without a parent, and takes no other's", () => {
  const cgroup = (text: string, instance = "") =>
    parseConfig(`[cgroup]\n${text}`, instance, "config.toml").cgroup;
  expect(cgroup("")).toMatchObject({ driver: "cgroupfs", parent: "/podrt" });
  expect(cgroup('driver = "systemd"')).toMatchObject({ driver: "systemd", slice: "podrt.slice" });
  expect(cgroup('driver = "systemd"', "ab12").slice).toBe("podrt-ab12.slice");
  expect(cgroup('driver = "systemd"\nslice = "system.slice"').slice).toBe("system.slice");
  for (const [text, problem] of [
    ['driver = "systemd"\nparent = "/x"', 'parent: has no meaning with cgroup.driver = "systemd"'],
    ['slice = "x.slice"', 'slice: has no meaning with cgroup.driver = "cgroupfs"'],
    ['driver = "systemd"\nslice = "/x.slice"', "slice: is no name of a slice"],
    ['driver = "systemd "', "driver: "],
  ] as const) {
    expect(() => cgroup(text)).toThrow(`config.toml: cgroup.${problem}`);
  }
});

test("a configuration is a file of a megabyte at most; without one everything is as usual", () => {
  const dir = mkdtempSync(join(tmpdir(), "podrt-config-"));
  try {
    const paths = pathsFor(dir);
    expect(loadConfig(paths).log.level).toBe("info");
    writeFileSync(paths.configFile, '[log]\nlevel = "warn"\n');
    expect(loadConfig(paths).log.level).toBe("warn");
    writeFileSync(paths.configFile, "#".repeat(1024 * 1024 + 1));
    expect(() => loadConfig(paths)).toThrow("config.toml: is larger than 1048576 bytes");
    expect(() => loadConfig(paths, dir)).toThrow(`cannot read the configuration ${dir}: is no file`);
    expect(() => loadConfig(paths, join(dir, "absent"))).toThrow("there is no such file; check --config");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("the example of the configuration changes nothing, and each of its lines says what holds without it", () => {
  const { configFile, instance } = pathsFor();
  const parse = (text: string) => parseConfig(text, instance, configFile);
  const example = readFileSync(join(import.meta.dir, "../packaging/config.toml"), "utf8");
  expect(parse(example)).toEqual(parse(""));
  // A line is a setting or a table in a comment; what stands below "# Example" up to an empty line is none of it.
  const withoutExamples = example.replace(/^# Example.*\n(# .*\n)+/gm, "");
  const settings = withoutExamples.replace(/^# (?=[a-z_]+ = |\[)/gm, "");
  expect(settings.match(/^[a-z_]+ = /gm)!.length).toBeGreaterThan(25);
  const said = parse(settings);
  const { followsPodCidr, ...network } = parse("").network;
  expect({ ...said, network: { ...said.network, followsPodCidr } }).toEqual({
    ...parse(""),
    network: { ...network, followsPodCidr, cniConfDir: "/etc/cni/net.d" },
  });
  const examples = example.replace(/^# (?=[a-z_]+ = |\[)/gm, "");
  expect(parse(examples).metrics.port).toBe(9327);
  expect(Object.keys(parse(examples).registries)).toEqual(["docker.io", "registry.local:5000"]);
});
