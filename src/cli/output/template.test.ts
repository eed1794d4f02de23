// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { fillTemplate, parseTemplate } from "./template.ts";

const value = {
  name: "web",
  count: 3,
  ready: true,
  ip: null,
  late: undefined,
  ports: [{ port: 80 }, { port: 443 }],
  labels: { "a.b/c": "d" },
};

function fill(text: string): string {
  return fillTemplate(parseTemplate(text), value);
}

describe("a template", () => {
  test.each([
    ["{.name}", "web"],
    ["pod {.name} has {.count}, {.ready}", "pod web has 3, true"],
    ["[{.ip}{.late}]", "[]"],
    ["{.ports[1].port}", "443"],
    ["{.ports[7].port}", ""],
    ["{.ports}", '[{"port":80},{"port":443}]'],
    ['{.labels["a.b/c"]}', "d"],
    ["{.labels}", '{"a.b/c":"d"}'],
    ["a\\tb\\n\\{\\}\\\\", "a\tb\n{}\\"],
    ["", ""],
  ])("%p gives %p", (text, filled) => {
    expect(fill(text)).toBe(filled);
  });

  test("{.} is all of it", () => {
    expect(JSON.parse(fill("{.}"))).toMatchObject({ name: "web", ports: [{ port: 80 }, { port: 443 }] });
  });

  test.each([
    ["{.name", "the { at 1 is not closed"],
    ["x}", "the } at 2 closes nothing"],
    ["{}", "{} names nothing"],
    ["{name}", "{name} is no path such as {.name}"],
    ["{.a..b}", "{.a..b} is no path"],
    ["a\\q", "\\q at 2 is none of"],
    ["a\\", "\\ at 2 is none of"],
    ["{.nmae}", "there is no .nmae; there are .name, .count, "],
    ["{.constructor}", "there is no .constructor"],
    ["{.ports.port}", ".port is asked of a list"],
    ["{.name.first}", '.first is asked of "web", which has no parts'],
    ["x".repeat(5000), "at most 4096 characters"],
  ])("%p is refused", (text, message) => {
    expect(() => fill(text)).toThrow(message);
  });
});
