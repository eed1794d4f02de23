// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { logfmt } from "./logfmt.ts";

const line = (fields: object) => `${JSON.stringify(fields)}\n`;

test("time, level and message come first, and only what needs quotes has them", () => {
  const entry = {
    level: 30,
    time: "2026-01-01T00:00:00.000Z",
    socket: "/run/a.sock",
    pid: 7,
    msg: "podrt serves",
  };
  expect(logfmt(line(entry))).toBe(
    'time=2026-01-01T00:00:00.000Z level=info msg="podrt serves" socket=/run/a.sock pid=7\n',
  );
});

test("one entry stays one line, whatever is in it", () => {
  const err = { type: "Error", message: 'no "such"\nthing', stack: "Error: no\n    at x" };
  const entry = { level: 50, time: "t", empty: "", list: [1], err, msg: "failed" };
  expect(logfmt(line(entry))).toBe(
    'time=t level=error msg=failed empty="" list="[1]" err="no \\"such\\"\\nthing" stack="Error: no\\n    at x"\n',
  );
});
