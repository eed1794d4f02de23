// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";

/*
 * How long the property tests go on, and from where:
 *
 *   PODRT_FUZZ_RUNS   by what the number of runs of each property is multiplied (1), with as much more time for it
 *   PODRT_FUZZ_SEED   where they begin: a number (1 unless told), or `random`; a failure names its seed
 */
const factor = Math.max(1, Number(process.env["PODRT_FUZZ_RUNS"] ?? "1"));
const wanted = process.env["PODRT_FUZZ_SEED"] ?? "1";
const seed = wanted === "random" ? Math.trunc(Math.random() * 2 ** 31) : Number(wanted);

/** For `fc.assert`: so many runs in `make test`, always the same ones. */
export function fuzz(runs: number) {
  return { numRuns: Math.ceil(runs * factor), seed, includeErrorInReport: true };
}

/** The time limit of a test with such properties. */
export const fuzzTimeoutMs = 60_000 * factor;

/** JSON values that a reader may stumble over, and any others. */
const anyJson = fc.oneof(
  fc.constantFrom<fc.JsonValue>(
    null,
    "",
    0,
    -1,
    1e308,
    2 ** 53,
    true,
    [],
    {},
    "\0",
    "a\nb",
    "..",
    "/",
    "__proto__",
  ),
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constant("x".repeat(5000)),
);

type Path = readonly (string | number)[];

function pathsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, part]) => pathsIn(part, [...path, key]))];
}

function changedAt(document: unknown, path: Path, change: (value: unknown) => unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return change(document);
  if (typeof document !== "object" || document === null) return document;
  const copy = (Array.isArray(document) ? [...document] : { ...document }) as Record<
    string | number,
    unknown
  >;
  copy[first] = changedAt(copy[first], rest, change);
  return copy;
}

/** The document with some of its values replaced, gone, or with company that no schema knows. */
export function mutatedJson(document: unknown): fc.Arbitrary<unknown> {
  const paths = pathsIn(document);
  const change = fc.oneof(
    anyJson.map((value) => () => value),
    fc.constant(() => undefined),
    fc.tuple(fc.string({ maxLength: 10 }), anyJson).map(
      ([key, value]) =>
        (old: unknown) =>
          typeof old === "object" && old !== null ? { ...old, [key]: value } : [old, value],
    ),
  );
  return fc
    .array(fc.tuple(fc.constantFrom(...paths), change), { maxLength: 3 })
    .map((changes) => changes.reduce((whole, [path, alter]) => changedAt(whole, path, alter), document));
}

/** The bytes with some of them changed, cut out or put in. */
export function mutatedBytes(bytes: Uint8Array): fc.Arbitrary<Buffer> {
  const edit = fc.record({
    at: fc.nat(bytes.length),
    removed: fc.oneof(fc.constant(0), fc.nat(8), fc.nat(bytes.length)),
    added: fc.uint8Array({ maxLength: 12 }),
  });
  return fc
    .array(edit, { maxLength: 4 })
    .map((edits) =>
      edits.reduce<Buffer>(
        (whole, { at, removed, added }) =>
          Buffer.concat([whole.subarray(0, at), added, whole.subarray(at + removed)]),
        Buffer.from(bytes),
      ),
    );
}
