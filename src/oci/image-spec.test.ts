// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { FailedPreconditionError } from "../errors.ts";
import { parseImageSpec } from "./image-spec.ts";

const bytes = (document: unknown) => new TextEncoder().encode(JSON.stringify(document));
const rootfs = { type: "layers", diff_ids: [`sha256:${"d".repeat(64)}`] };

test("what is absent or null is empty", () => {
  const empty = parseImageSpec(bytes({ rootfs: { type: "layers", diff_ids: null } }));
  expect(empty.config).toEqual(parseImageSpec(bytes({ rootfs, config: null })).config);
  expect(empty.config).toEqual({
    User: "",
    Env: [],
    Entrypoint: [],
    Cmd: [],
    WorkingDir: "",
    StopSignal: "",
    Volumes: {},
    ExposedPorts: {},
    Labels: {},
  });
  expect(empty.rootfs.diff_ids).toEqual([]);
});

test("a Docker configuration with its own extra fields is read", () => {
  const spec = parseImageSpec(
    bytes({
      architecture: "amd64",
      os: "linux",
      docker_version: "1",
      history: [{}],
      config: {
        User: "www-data:33",
        Env: ["PATH=/bin"],
        Cmd: ["sh"],
        Entrypoint: null,
        Volumes: { "/data": {}, "/scratch": null },
        Labels: { a: "b\nc" },
        OnBuild: [],
      },
      rootfs,
    }),
  );
  expect(spec.config).toMatchObject({
    User: "www-data:33",
    Cmd: ["sh"],
    Volumes: { "/data": {}, "/scratch": {} },
  });
  expect(spec.config.Labels).toEqual({ a: "b\nc" });
});

test.each([
  ["a NUL in an argument", { rootfs, config: { Cmd: ["a\0b"] } }, "config.Cmd.0 contains a NUL"],
  ["a line break in the user", { rootfs, config: { User: "a\nroot:x" } }, "config.User contains a control"],
  ["a control character in a volume", { rootfs, config: { Volumes: { "/a\n": {} } } }, "contains a control"],
  ["an endless variable", { rootfs, config: { Env: ["x".repeat(200_000)] } }, "config.Env.0 is longer"],
  ["too many variables", { rootfs, config: { Env: Array(5000).fill("a=b") } }, "config.Env has more than"],
  ["a command that is text", { rootfs, config: { Cmd: "sh" } }, "config.Cmd"],
  [
    "too many layers",
    { rootfs: { type: "layers", diff_ids: Array(128).fill(rootfs.diff_ids[0]) } },
    "127 layers",
  ],
  [
    "a diff id that is no digest",
    { rootfs: { type: "layers", diff_ids: ["x"] } },
    "rootfs.diff_ids.0 is no digest",
  ],
  ["another root file system", { rootfs: { type: "squashfs" } }, "rootfs.type"],
  ["no root file system", {}, "rootfs"],
])("%s is refused with the field's path", (_, document, problem) => {
  expect(() => parseImageSpec(bytes(document))).toThrow(problem);
  expect(() => parseImageSpec(bytes(document))).toThrow(FailedPreconditionError);
});
