// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  criPage,
  pageFile,
  reachableFrom,
  readCoverage,
  readInterface,
  splitVerdict,
} from "../scripts/write-cri-page.ts";

const data = readInterface();
const coverage = readCoverage();
const methods = data.services.flatMap((service) => service.methods);
const sent = reachableFrom(
  data,
  methods.map(({ input }) => input),
);

describe("docs/cri-coverage.yaml", () => {
  test("has each call of the interface, and no other", () => {
    expect(Object.keys(coverage.methods).toSorted()).toEqual(methods.map(({ name }) => name).toSorted());
  });

  test("has each field of each message, and no other", () => {
    const written = Object.entries(coverage.messages).flatMap(([message, fields]) =>
      Object.keys(fields ?? {}).map((field) => `${message}.${field}`),
    );
    const existing = data.messages.flatMap(({ name, fields }) =>
      fields.map((field) => `${name}.${field.name}`),
    );
    expect(written.toSorted()).toEqual(existing.toSorted());
  });

  test("says of what clients send whether it is honoured, refused or ignored, and why when it is not honoured", () => {
    const offences = data.messages.flatMap(({ name, fields }) =>
      fields
        .map((field) => ({ field: `${name}.${field.name}`, ...splitVerdict(textOf(name, field.name)) }))
        .filter(({ verdict, note }) => {
          const allowed = sent.has(name) ? ["honoured", "refused", "ignored"] : ["filled", "empty"];
          const needsReason = verdict !== "honoured" && verdict !== "filled";
          return !allowed.includes(verdict) || (needsReason && note === "");
        })
        .map(({ field }) => field),
    );
    expect(offences).toEqual([]);
  });
});

test("docs/cri.md is what its sources give: run make gen", () => {
  expect(readFileSync(pageFile, "utf8")).toBe(criPage(data, coverage));
});

function textOf(message: string, field: string): string {
  return coverage.messages[message]?.[field] ?? "";
}
