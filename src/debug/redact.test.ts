// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { redacted } from "./redact.ts";

test("variables keep their names only, in every form that records have", () => {
  expect(
    redacted({
      envs: [{ key: "A", value: "cw==" }],
      process: { env: ["B=s=t", "C="] },
      container: {
        env: [
          { name: "D", value: "s" },
          { name: "E", valueFrom: { fieldRef: { fieldPath: "x" } } },
        ],
      },
      Env: ["F=s"],
    }),
  ).toEqual({
    envs: [{ key: "A", value: "(hidden)" }],
    process: { env: ["B=(hidden)", "C=(hidden)"] },
    container: {
      env: [
        { name: "D", value: "(hidden)" },
        { name: "E", valueFrom: { fieldRef: { fieldPath: "x" } } },
      ],
    },
    Env: ["F=(hidden)"],
  });
});

test("credentials go by their names and places, empty ones and others stay", () => {
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}", team: "a" };
  expect(
    redacted({
      registries: {
        "r:5000": { username: "u", password: "p", identityToken: "", auth: "dXA=", plain_http: true },
      },
      mirror: "see https://user:pass@mirror.local/v2 and http://u@h",
      client_secret: 7,
      tokens: { count: 3 },
      annotations,
      authors: "me",
    }),
  ).toEqual({
    registries: {
      "r:5000": {
        username: "u",
        password: "(hidden)",
        identityToken: "",
        auth: "(hidden)",
        plain_http: true,
      },
    },
    mirror: "see https://(hidden)@mirror.local/v2 and http://(hidden)@h",
    client_secret: "(hidden)",
    tokens: { count: 3 },
    annotations: { "kubectl.kubernetes.io/last-applied-configuration": "(hidden)", team: "a" },
    authors: "me",
  });
});
