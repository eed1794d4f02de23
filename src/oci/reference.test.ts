// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { InvalidArgumentError } from "../errors.ts";
import { formatReference, parseReference, repositoryOf } from "./reference.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

test.each([
  ["nginx", "docker.io/library/nginx:latest"],
  ["nginx:1.25", "docker.io/library/nginx:1.25"],
  ["bitnami/redis", "docker.io/bitnami/redis:latest"],
  ["docker.io/nginx", "docker.io/library/nginx:latest"],
  ["index.docker.io/nginx", "docker.io/library/nginx:latest"],
  ["localhost/app", "localhost/app:latest"],
  ["127.0.0.1:5000/app:v1", "127.0.0.1:5000/app:v1"],
  ["[::1]:5000/app", "[::1]:5000/app:latest"],
  ["host:5000/a/b/c", "host:5000/a/b/c:latest"],
  ["registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"],
  [`nginx@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`],
  [`nginx:1.25@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`],
  ["foo:5000", "docker.io/library/foo:5000"],
  ["a__b/c-d.e", "docker.io/a__b/c-d.e:latest"],
])("%s is %s", (text, normal) => {
  expect(formatReference(parseReference(text))).toBe(normal);
});

test.each([
  ["", "is empty"],
  ["Nginx", "capital letters"],
  ["nginx:", "malformed tag"],
  ["nginx:a b", "malformed tag"],
  ["nginx@sha256:12", "malformed digest"],
  ["nginx@", "malformed digest"],
  ["../etc/passwd", "no registry host"],
  ["host.example/../x", "malformed repository name"],
  ["host.example/", "malformed repository name"],
  ["a//b", "malformed repository name"],
  ["ho st.example/x", "no registry host"],
  ["user@host.example/x", "malformed digest"],
  ["host.example:port/x", "no registry host"],
  [`${"a/".repeat(200)}b`, "longer than 255"],
  ["c".repeat(64), "image id"],
])("%s is refused", (text, problem) => {
  expect(() => parseReference(text, "image.image")).toThrow(problem);
  expect(() => parseReference(text, "image.image")).toThrow(InvalidArgumentError);
  expect(() => parseReference(text, "image.image")).toThrow("image.image");
});

test("a normal form is its own normal form", () => {
  const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/);
  const host = fc.constantFrom("docker.io", "localhost", "quay.io", "127.0.0.1:5000");
  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/);
  fc.assert(
    fc.property(host, fc.array(component, { minLength: 1, maxLength: 4 }), tag, (server, parts, version) => {
      const once = formatReference(parseReference(`${server}/${parts.join("/")}:${version}`));
      expect(formatReference(parseReference(once))).toBe(once);
      expect(once.startsWith(`${repositoryOf(parseReference(once))}:`)).toBe(true);
    }),
  );
});

test("no text makes the parser throw anything but InvalidArgument", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      try {
        parseReference(text);
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidArgumentError);
      }
    }),
  );
});
