// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NetworkDirectory, openNetworkDirectory } from "./network-directory.ts";

let directory: string;
let changes: number;
let opened: NetworkDirectory;

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "podrt-net.d-")), "net.d");
  changes = 0;
  opened = openNetworkDirectory(directory, () => changes++);
});

afterEach(() => rmSync(join(directory, ".."), { recursive: true }));

function write(name: string, content: object | string): void {
  mkdirSync(join(directory, name, ".."), { recursive: true });
  writeFileSync(join(directory, name), typeof content === "string" ? content : JSON.stringify(content));
}

function conf(name: string): object {
  return { cniVersion: "1.0.0", name, plugins: [{ type: "bridge" }] };
}

const chosen = () => opened.read().network?.conf.name;

test("without the directory, and without a file of configuration in it, nothing is configured", () => {
  expect(opened.read()).toEqual({ isConfigured: false, problems: [] });
  write("README", "no configuration");
  mkdirSync(join(directory, "00-directory.conflist"));
  expect(opened.read()).toEqual({ isConfigured: false, problems: [] });
});

test("the first file that can be read is taken, in the order of names, of whatever kind", () => {
  write("20-list.conflist", conf("list"));
  expect(chosen()).toBe("list");
  write("10-single.conf", { cniVersion: "1.0.0", name: "single", type: "ptp" });
  expect(chosen()).toBe("single");
  write("05-other.json", { cniVersion: "1.0.0", name: "other", type: "ptp" });
  expect(chosen()).toBe("other");
  write("00-broken.conflist", "{");
  expect(chosen()).toBe("other");
  expect(opened.read().problems).toEqual([expect.stringContaining("00-broken.conflist: is no JSON")]);
});

test("only broken files are a configuration too, that cannot be used", () => {
  write("00-broken.conflist", "{");
  write("10-large.conf", "");
  truncateSync(join(directory, "10-large.conf"), 2 ** 21);
  const { isConfigured, network, problems } = opened.read();
  expect({ isConfigured, network }).toEqual({ isConfigured: true, network: undefined });
  expect(problems[1]).toContain("10-large.conf: is larger than 1048576 bytes");
});

test("files are read again only when one has changed, also one of the plugins beside a list", () => {
  write("10-list.conflist", conf("list"));
  const before = opened.read();
  expect(opened.read()).toBe(before);
  expect(changes).toBe(1);
  write("list/10-more.conf", { type: "portmap" });
  expect(opened.read().network?.conf.plugins.map(({ type }) => type)).toEqual(["bridge", "portmap"]);
  write("list/10-more.conf", { type: "firewall" });
  expect(opened.read().network?.conf.plugins.map(({ type }) => type)).toEqual(["bridge", "firewall"]);
  expect(changes).toBe(3);
  rmSync(join(directory, "10-list.conflist"));
  expect(opened.read().isConfigured).toBe(false);
});

test("an empty path is a directory that never has anything", () => {
  expect(openNetworkDirectory("", () => {}).read()).toEqual({ isConfigured: false, problems: [] });
});
