// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create, type DescField, type DescMessage } from "@bufbuild/protobuf";
import {
  criPage,
  pageFile,
  reachableFrom,
  readCoverage,
  readInterface,
  splitVerdict,
} from "../scripts/write-cri-page.ts";
import { validateRequest } from "../src/cri/validate.ts";
import { PodrtError } from "../src/errors.ts";
import { ImageService, RuntimeService } from "../src/gen/runtime/v1/api_pb.ts";
import { anyValue, type Place, placesIn, validRequests, withValue } from "./fixtures/valid-requests.ts";

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

/** Calls whose serving has yet to come; the page says what they will do. */
const NOT_SERVED = ["CheckpointContainer", "CheckpointPod", "RestorePod"];

const requests = [...RuntimeService.methods, ...ImageService.methods].map((method) => ({
  method,
  request: validRequests[method.name] ?? {},
}));

/** Each place of each request where a field of this verdict is, but for what is inside of something ignored. */
function* placesOf(verdict: string) {
  for (const { method, request } of requests) {
    for (const place of placesIn(method.input)) {
      const outer = place.fields.slice(0, -1);
      if (verdictOf(place.field) !== verdict || outer.some((field) => verdictOf(field) === "ignored"))
        continue;
      yield { method, request, place };
    }
  }
}

function verdictOf(field: DescField): string {
  return splitVerdict(textOf(field.parent.name, field.name)).verdict;
}

interface Example {
  readonly method: { readonly input: DescMessage };
  readonly request: object;
  readonly place: Place;
}

/** The error of a request with `value` at the place; undefined when it is accepted. */
function errorOf({ method, request, place }: Example, value: unknown): PodrtError | undefined {
  try {
    validateRequest(method.input, create(method.input, withValue(request, place, value) as never));
    return undefined;
  } catch (error) {
    if (!(error instanceof PodrtError)) throw error;
    return error;
  }
}

function nameOf({ field }: Place): string {
  return `${field.parent.name}.${field.name}`;
}

function fieldsMarked(verdict: string): string[] {
  return Object.entries(coverage.messages).flatMap(([message, fields]) =>
    Object.entries(fields).flatMap(([field, text]) =>
      splitVerdict(text).verdict === verdict ? [`${message}.${field}`] : [],
    ),
  );
}

describe("what the page says of a field is so", () => {
  test("one that is refused is refused wherever it is, by its path or by that of the field that holds it", () => {
    const seen = new Set<string>();
    for (const example of placesOf("refused")) {
      const { method, place } = example;
      const holder = place.fields.findIndex((field) => verdictOf(field) === "refused");
      const path = place.path
        .split(".")
        .slice(0, holder + 1)
        .join(".");
      const error = errorOf(example, anyValue(place.field));
      // Of a map by the key; what is inside of a field that is checked says nothing about the field.
      const refused = error?.message.replace(/(\[\w+\])?: .*/s, "");
      expect(`${method.name} ${refused}`).toBe(`${method.name} ${path}`);
      expect(["Unimplemented", "InvalidArgument"]).toContain(error?.kind as string);
      seen.add(nameOf(place));
    }
    expect([...seen].toSorted()).toEqual(fieldsMarked("refused").toSorted());
  });

  test("one that is ignored changes nothing about whether a request is accepted", () => {
    const seen = new Set<string>();
    for (const example of placesOf("ignored")) {
      const { path } = example.place;
      const error = errorOf(example, undefined)?.message;
      expect({ path, error: errorOf(example, anyValue(example.place.field))?.message }).toEqual({
        path,
        error,
      });
      seen.add(nameOf(example.place));
    }
    expect([...seen].toSorted()).toEqual(fieldsMarked("ignored").toSorted());
  });

  test("one that is honoured is read by something other than its check", () => {
    const text = sourcesBeyondChecks();
    const unread = [...placesOf("honoured")].filter(({ method, place }) => {
      const names = new RegExp(`\\b${place.field.localName}\\b`);
      return !NOT_SERVED.includes(method.name) && !names.test(text);
    });
    expect([...new Set(unread.map(({ place }) => nameOf(place)))]).toEqual([]);
  });
});

/** All sources but those that check requests, describe messages or test. */
function sourcesBeyondChecks(): string {
  const root = join(import.meta.dir, "../src");
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .filter((file) => !/^gen\/|^cri\/validate|^kube\//.test(file))
    .map((file) => readFileSync(join(root, file), "utf8"))
    .join("\n");
}

function textOf(message: string, field: string): string {
  return coverage.messages[message]?.[field] ?? "";
}
