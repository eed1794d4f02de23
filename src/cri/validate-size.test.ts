// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { create, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type Place, placesIn, validRequests, withValue } from "../../test/fixtures/valid-requests.ts";
import { PodrtError } from "../errors.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import { validateRequest } from "./validate.ts";

const LONG_TEXT = "x".repeat(10 * 1024 * 1024);
const MANY = 100_000;

const methods = [...RuntimeService.methods, ...ImageService.methods];

/** The refusal of a request; undefined when it is accepted. */
function refusal(type: DescMessage, request: Message): { kind: string; message: string } | undefined {
  try {
    validateRequest(type, request);
    return undefined;
  } catch (error) {
    if (!(error instanceof PodrtError)) throw error;
    return { kind: error.kind, message: error.message };
  }
}

/** What must not be accepted at a place, each with how the error must begin. */
function* excesses({ field, path }: Place): Generator<readonly [unknown, string]> {
  const isText = field.scalar === ScalarType.STRING;
  if (field.fieldKind === "map") {
    yield [{ [LONG_TEXT]: "" }, `${path} key: must not exceed`];
    if (isText) yield [{ a: LONG_TEXT }, `${path}[a]: must not exceed`];
    const entries = Array.from({ length: MANY }, (_, index) => [`k${index}`, ""]);
    yield [Object.fromEntries(entries), `${path}: must not have more than`];
    return;
  }
  if (field.fieldKind === "list") {
    const entry = field.message === undefined ? zeroOf(field.scalar) : create(field.message);
    yield [Array.from({ length: MANY }).fill(entry), `${path}: must not have more than`];
    if (isText) yield [["", LONG_TEXT], `${path}[1]: must not exceed`];
    return;
  }
  if (isText) yield [LONG_TEXT, `${path}: must not exceed`];
  if (field.scalar === ScalarType.BYTES) yield [Buffer.from(LONG_TEXT), `${path.replace(/\.value$/, "")}`];
  if (field.enum !== undefined) yield [9999, `${path}: 9999 is no value of ${field.enum.name}`];
}

function zeroOf(scalar: ScalarType | undefined): unknown {
  if (scalar === ScalarType.STRING) return "";
  return scalar === ScalarType.INT64 ? 0n : 0;
}

describe("each text, list and enum of a request has a bound, and the error names the field", () => {
  for (const { name, input } of methods) {
    test(name, () => {
      const request = validRequests[name] ?? {};
      expect(refusal(input, create(input, request as never))).toBeUndefined();
      for (const place of placesIn(input)) {
        for (const [value, beginning] of excesses(place)) {
          const found = refusal(input, create(input, withValue(request, place, value) as never));
          expect({ path: place.path, kind: found?.kind }).toEqual({
            path: place.path,
            kind: "InvalidArgument",
          });
          expect(found?.message.slice(0, beginning.length)).toBe(beginning);
          expect(found?.message.length).toBeLessThan(4096);
        }
      }
    });
  }
});
