// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { hostPlan, isLoopback } from "./registry-hosts.ts";

const endpointsOf = (host: string, registries = {}) => hostPlan(host, registries, "/nonexistent").endpoints;
const bases = (host: string, registries = {}) => endpointsOf(host, registries).map(({ base }) => base);

test("docker.io is spoken to at its registry's own host", () => {
  expect(bases("docker.io")).toEqual(["https://registry-1.docker.io/v2"]);
});

test("mirrors come in order before the registry, with their paths", () => {
  const registries = {
    "docker.io": {
      mirrors: ["http://127.0.0.1:5000", "https://m.example/hub/", "https://p.example/v2/proxy"],
      plain_http: false,
    },
  };
  expect(bases("docker.io", registries)).toEqual([
    "http://127.0.0.1:5000/v2",
    "https://m.example/hub/v2",
    "https://p.example/v2/proxy",
    "https://registry-1.docker.io/v2",
  ]);
  expect(endpointsOf("docker.io", registries).map(({ isRegistry }) => isRegistry)).toEqual([
    false,
    false,
    false,
    true,
  ]);
});

test("plain http is spoken only where configured, or on loopback after https", () => {
  expect(bases("r.example:5000")).toEqual(["https://r.example:5000/v2"]);
  expect(bases("r.example:5000", { "r.example:5000": { mirrors: [], plain_http: true } })).toEqual([
    "http://r.example:5000/v2",
  ]);
  expect(bases("localhost:5000")).toEqual(["https://localhost:5000/v2", "http://localhost:5000/v2"]);
  expect(endpointsOf("localhost:5000", {}).map(({ isFallback }) => isFallback)).toEqual([false, true]);
});

test.each([
  ["localhost", true],
  ["localhost:80", true],
  ["127.0.0.1:5000", true],
  ["127.9.9.9", true],
  ["[::1]:5000", true],
  ["localhost.example", false],
  ["127.0.0.1.example", false],
  ["10.0.0.1", false],
])("%s on loopback: %p", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
