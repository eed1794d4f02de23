// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { type ContainerConfig, ContainerConfigSchema } from "../gen/runtime/v1/api_pb.ts";
import { CAPABILITIES, type CapabilityName, DEFAULT_CAPABILITIES } from "../linux/capability.ts";
import type { ImageConfig } from "../oci/image-spec.ts";
import { processSpec } from "./process-spec.ts";

const image: ImageConfig = {
  User: "",
  Env: ["PATH=/image/bin", "A=image"],
  Entrypoint: ["/entry"],
  Cmd: ["default"],
  WorkingDir: "/image",
  StopSignal: "",
  Volumes: {},
  ExposedPorts: {},
  Labels: {},
};
const all = new Set(Object.keys(CAPABILITIES) as CapabilityName[]);
const context = { user: { uid: 0, gid: 0, groups: [0], home: "/root" }, hostname: "pod", available: all };

type Init = NonNullable<Parameters<typeof create<typeof ContainerConfigSchema>>[1]>;

function spec(config: Init, available: ReadonlySet<CapabilityName> = all) {
  return processSpec(create(ContainerConfigSchema, config) as ContainerConfig, image, {
    ...context,
    available,
  });
}

const capabilities = (add: string[], drop: string[]): Init => ({
  linux: { securityContext: { capabilities: { addCapabilities: add, dropCapabilities: drop } } },
});

test("the command replaces entrypoint and arguments, args alone only the arguments", () => {
  expect(spec({}).args).toEqual(["/entry", "default"]);
  expect(spec({ args: ["a"] }).args).toEqual(["/entry", "a"]);
  expect(spec({ command: ["c"] }).args).toEqual(["c"]);
  expect(spec({ command: ["c"], args: ["a"] }).args).toEqual(["c", "a"]);
});

test("no command at all is refused", () => {
  const empty = { ...image, Entrypoint: [], Cmd: [] };
  expect(() => processSpec(create(ContainerConfigSchema), empty, context)).toThrow(
    "config.command: no command",
  );
});

test("each variable is there once, and the last definition wins", () => {
  const value = new TextEncoder().encode("x=y");
  const { env } = spec({ envs: [{ key: "A", value }], tty: true });
  expect(env).toEqual(["PATH=/image/bin", "HOSTNAME=pod", "HOME=/root", "TERM=xterm", "A=x=y"]);
});

test("capabilities: the default set, then ALL, then single names, dropping last", () => {
  const names = (config: Init) =>
    spec(config)
      .capabilities.bounding.map((name) => name.slice(4))
      .sort();
  expect(names({})).toEqual([...DEFAULT_CAPABILITIES].sort());
  expect(names(capabilities([], ["ALL"]))).toEqual([]);
  expect(names(capabilities(["NET_ADMIN"], ["all"]))).toEqual(["NET_ADMIN"]);
  expect(names(capabilities(["ALL"], ["sys_admin"]))).toEqual(
    [...all].filter((name) => name !== "SYS_ADMIN").sort(),
  );
  expect(names(capabilities(["CAP_SYS_TIME"], ["CHOWN"]))).toEqual(
    [...DEFAULT_CAPABILITIES, "SYS_TIME"].filter((name) => name !== "CHOWN").sort(),
  );
});

test("ambient capabilities are in every set, unless they are dropped too; added ones are not inheritable", () => {
  const sets = (add: string[], drop: string[], ambient: string[]) =>
    spec({
      linux: {
        securityContext: {
          capabilities: { addCapabilities: add, dropCapabilities: drop, addAmbientCapabilities: ambient },
        },
      },
    }).capabilities;
  const raised = ["CAP_NET_ADMIN"];
  expect(sets([], ["ALL"], ["net_admin"])).toEqual({
    bounding: raised,
    effective: raised,
    permitted: raised,
    inheritable: raised,
    ambient: raised,
  });
  expect(sets([], ["ALL", "NET_ADMIN"], ["NET_ADMIN"])).toMatchObject({ permitted: [], ambient: [] });
  expect(sets(["NET_ADMIN"], ["ALL"], [])).toMatchObject({ permitted: raised, inheritable: [], ambient: [] });
});

test("what the daemon itself lacks is not given, not even to a privileged container", () => {
  const few = new Set<CapabilityName>(["CHOWN", "KILL"]);
  const { bounding } = spec({ linux: { securityContext: { privileged: true } } }, few).capabilities;
  expect(bounding).toEqual(["CAP_CHOWN", "CAP_KILL"]);
});

test("an unknown capability is refused with its field", () => {
  expect(() => spec(capabilities(["NOPE"], []))).toThrow(
    'config.linux.security_context.capabilities.add_capabilities[0]: "NOPE" is no capability',
  );
});

test("the oom score is what is asked for, else 0", () => {
  expect(spec({}).oomScoreAdj).toBe(0);
  expect(spec({ linux: { resources: { oomScoreAdj: -997n } } }).oomScoreAdj).toBe(-997);
});
