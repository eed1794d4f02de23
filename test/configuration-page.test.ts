// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { configurationPage, pageFile } from "../scripts/write-configuration-page.ts";
import { parseConfig } from "../src/config.ts";
import { pathsFor } from "../src/paths.ts";

const page = readFileSync(pageFile, "utf8");

test("docs/configuration.md is what src/config/schema.ts gives", () => {
  expect(page).toBe(configurationPage());
});

test("what it says of settings without a fixed default is what an empty configuration gives", () => {
  const { network, cgroup, nri, image } = parseConfig("", "", pathsFor().configFile);
  const slice = parseConfig('[cgroup]\ndriver = "systemd"', "", pathsFor().configFile).cgroup.slice;
  const unlessTold = {
    subnet: network.subnets.join(),
    bridge: network.bridge,
    cni_conf_dir: network.cniConfDir ?? pathsFor().cniConfDir,
    socket: nri.socket ?? pathsFor().nriSocket,
    plugin_path: nri.plugin_path,
    plugin_config_path: nri.plugin_config_path,
    certs_dir: image.certs_dir.replace("/etc/podrt/", ""),
    auth_file: image.auth_file.replace("/etc/podrt/", ""),
    parent: cgroup.parent,
    slice,
  };
  for (const [setting, value] of Object.entries(unlessTold)) {
    const row = page.split("\n").find((line) => line.startsWith(`| ${setting} | `));
    expect(row?.split(" | ")[2]).toStartWith(`\`${value}\``);
  }
});
