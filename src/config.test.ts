// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseConfig } from "./config.ts";

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
