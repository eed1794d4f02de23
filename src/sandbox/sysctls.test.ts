// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { PodSandboxConfigSchema } from "../gen/runtime/v1/api_pb.ts";
import { sandboxSysctls } from "./sysctls.ts";

const own = { network: true, ipc: true };

function sysctls(requested: Record<string, string>, namespaces = own) {
  return sandboxSysctls(create(PodSandboxConfigSchema, { linux: { sysctls: requested } }), namespaces);
}

test("dots and slashes name the same parameter", () => {
  expect(sysctls({ "net.core.somaxconn": "1" }).at(-1)).toEqual(["net/core/somaxconn", "1"]);
  const ofVlan = "net/ipv4/conf/eth0.1/forwarding";
  expect(sysctls({ [ofVlan]: "1" }).at(-1)?.[0]).toBe(ofVlan);
  expect(sysctls({ "net.ipv4.conf.eth0/1.forwarding": "1" }).at(-1)?.[0]).toBe(ofVlan);
});

test("a pod with a network of its own may bind low ports and ping", () => {
  expect(sysctls({}).map(([name]) => name)).toEqual([
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
  ]);
  expect(sysctls({}, { network: false, ipc: true })).toEqual([]);
});

test("in a user namespace the groups that may ping are those that it maps", () => {
  const group = (size: number) => ({ containerID: 0, hostID: 1000, size });
  const range = (size: number) =>
    sandboxSysctls(
      create(PodSandboxConfigSchema),
      { network: true, ipc: true },
      { uids: [], gids: [group(size)] },
    ).find(([name]) => name.endsWith("ping_group_range"))?.[1];
  expect(range(65_536)).toBe("0 65535");
  expect(range(4_294_967_294)).toBe("0 2147483647");
});

test.each([
  "kernel.core_pattern",
  "kernel/core_pattern",
  "net/../kernel/core_pattern",
  "net.ipv4/../../kernel/core_pattern",
  "vm.swappiness",
  "kernel.shm/../core_pattern",
  "fs.mqueue",
  "",
])("%p, which belongs to no namespace of a pod, is refused", (name) => {
  expect(() => sysctls({ [name]: "|/bin/sh" })).toThrow(`config.linux.sysctls[${name}]`);
});

test("a parameter of a namespace that is the host's is refused", () => {
  expect(() => sysctls({ "net.core.somaxconn": "1" }, { network: false, ipc: true })).toThrow(
    "host's network",
  );
  expect(() => sysctls({ "kernel.shmmax": "1" }, { network: true, ipc: false })).toThrow("host's ipc");
});
