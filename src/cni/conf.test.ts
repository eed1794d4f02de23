// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { parseList, parseSingle } from "./conf.ts";

const bridge = { type: "bridge", capabilities: { portMappings: true }, own: [1] };
const none = () => [];

function list(changes: object): string {
  return JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [bridge], ...changes });
}

test("a list is read, and what is the plugins' own is kept as it stands", () => {
  expect(parseList(list({ disableCheck: true, disableGC: "TRUE" }), none)).toEqual({
    name: "net",
    cniVersion: "1.0.0",
    disableCheck: true,
    disableGC: true,
    plugins: [bridge],
  });
});

test("of several versions the newest that podrt speaks is taken", () => {
  const versionOf = (changes: object) => parseList(list(changes), none).cniVersion;
  expect(versionOf({ cniVersions: ["0.4.0", "1.1.0", "7.0.0"] })).toBe("1.1.0");
  expect(versionOf({ cniVersion: "0.4.0", cniVersions: ["0.3.1"] })).toBe("0.4.0");
});

test("plugins beside the list come after its own, unless it wants none", () => {
  const beside = (network: string) => [{ file: "a.conf", text: JSON.stringify({ type: `of-${network}` }) }];
  const types = (changes: object) => parseList(list(changes), beside).plugins.map(({ type }) => type);
  expect(types({})).toEqual(["bridge", "of-net"]);
  expect(types({ plugins: undefined })).toEqual(["of-net"]);
  expect(types({ loadOnlyInlinedPlugins: true })).toEqual(["bridge"]);
});

test("a single plugin is a list of one", () => {
  const conf = { cniVersion: "0.3.1", name: "net", ...bridge };
  expect(parseSingle(JSON.stringify(conf))).toMatchObject({ name: "net", plugins: [conf] });
});

describe("refused, by the name of what is wrong", () => {
  test.each([
    ["no JSON", "{", "is no JSON"],
    ["no name", list({ name: undefined }), "name: "],
    ["a name that is a path", list({ name: "../net" }), "name: is no name of a network"],
    ["no plugin", list({ plugins: [] }), "plugins: is empty"],
    ["no plugins at all", list({ plugins: undefined }), "plugins: there is none"],
    [
      "no plugins, and none wanted from elsewhere",
      list({ plugins: undefined, loadOnlyInlinedPlugins: true }),
      "plugins: is missing",
    ],
    ["too many plugins", list({ plugins: Array(33).fill(bridge) }), "plugins: "],
    ["a plugin without a type", list({ plugins: [{}] }), "plugins.0.type: "],
    ["a plugin elsewhere", list({ plugins: [{ type: "../sh" }] }), "plugins.0.type: is no name of a plugin"],
    [
      "a plugin that is a directory",
      list({ plugins: [{ type: ".." }] }),
      "plugins.0.type: is no name of a plugin",
    ],
    [
      "an address manager elsewhere",
      list({ plugins: [{ ...bridge, ipam: { type: "/bin/sh" } }] }),
      "plugins.0.ipam.type: ",
    ],
    [
      "a capability that is none",
      list({ plugins: [{ ...bridge, capabilities: { dns: 1 } }] }),
      "plugins.0.capabilities.dns: ",
    ],
    ["no version", list({ cniVersion: undefined }), "cniVersion: is missing; podrt speaks 0.3.0 to 1.1.0"],
    ["an old version", list({ cniVersion: "0.2.0" }), "cniVersion: is 0.2.0; podrt speaks 0.3.0 to 1.1.0"],
    ["a version that is none", list({ cniVersion: "one" }), "cniVersion: is no version as in 1.0.0"],
    ["a switch that is neither", list({ disableGC: "maybe" }), "disableGC: "],
  ])("%s", (_, text, message) => {
    expect(() => parseList(text, none)).toThrow(message);
  });

  test("a list in a file for a single plugin", () => {
    expect(() => parseSingle(list({}))).toThrow("type: ");
  });

  test("a file of plugins beside the list, by its name", () => {
    expect(() => parseList(list({}), () => [{ file: "/x/a.conf", text: "{}" }])).toThrow("/x/a.conf: type: ");
  });
});
