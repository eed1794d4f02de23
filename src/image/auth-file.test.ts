// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../errors.ts";
import { authFromFile } from "./auth-file.ts";

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-auth-"));
  file = join(dir, "auth.json");
});
afterEach(() => rmSync(dir, { recursive: true }));

const write = (document: unknown) => writeFileSync(file, JSON.stringify(document));
const auth = (words: string) => ({ auth: btoa(words) });
const found = (host: string, repository?: string) => authFromFile(file, host, repository)?.auth;

test("credentials are found by host, however docker login wrote it", () => {
  expect(found("r.example")).toBeUndefined();
  write({
    auths: {
      "https://index.docker.io/v1/": auth("hub:x"),
      "r.example:5000": auth("r:x"),
      "https://s.example": auth("s:x"),
    },
  });
  expect(found("registry-1.docker.io")).toBe(btoa("hub:x"));
  expect(found("r.example:5000")).toBe(btoa("r:x"));
  expect(found("s.example")).toBe(btoa("s:x"));
  expect(found("r.example")).toBeUndefined();
});

test("of keys with a part of the repository the longest that fits counts", () => {
  write({
    auths: { "q.example": auth("a:x"), "q.example/team": auth("b:x"), "q.example/team/app": auth("c:x") },
  });
  expect(found("q.example", "other/app")).toBe(btoa("a:x"));
  expect(found("q.example", "team/other")).toBe(btoa("b:x"));
  expect(found("q.example", "team/app")).toBe(btoa("c:x"));
  expect(found("q.example", "teams/app")).toBe(btoa("a:x"));
});

test("tokens are taken too", () => {
  write({ auths: { "a.example": { identitytoken: "i" }, "b.example": { registrytoken: "t" } } });
  expect(authFromFile(file, "a.example")).toMatchObject({ identityToken: "i" });
  expect(authFromFile(file, "b.example")).toMatchObject({ registryToken: "t" });
});

test("what is left to helper programs is refused, and only that", () => {
  write({
    auths: { "a.example": {}, "b.example": auth("b:x") },
    credsStore: "pass",
    credHelpers: { "c.example": "ecr-login" },
  });
  expect(() => found("a.example")).toThrow("podrt executes none");
  expect(() => found("c.example")).toThrow("podrt executes none");
  expect(found("b.example")).toBe(btoa("b:x"));
  expect(found("d.example")).toBeUndefined();
});

test.each([
  ["no JSON", "{s3cret", "is not JSON"],
  ["a number", "3", "document"],
  ["credentials of another form", '{"auths":{"r.example":{"auth":["s3cret"]}}}', "auths.r.example.auth"],
  ["auth that is no user and password", '{"auths":{"r.example":{"auth":"s3cret!"}}}', "auths.r.example"],
])("%s is an error that names the file and repeats no secret", (_, text, problem) => {
  writeFileSync(file, text);
  try {
    authFromFile(file, "r.example");
    expect.unreachable();
  } catch (error) {
    expect(messageOf(error)).toStartWith(file);
    expect(messageOf(error)).toContain(problem);
    expect(messageOf(error)).not.toContain("s3cret");
  }
});
