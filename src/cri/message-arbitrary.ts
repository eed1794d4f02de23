// SPDX-License-Identifier: Apache-2.0
import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import fc from "fast-check";

const text = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom("", "a", "podrt", "aa", "ca", "/srv", "/a/b", "b.c", "10.0.0.1", "ALL", "r"),
  },
  fc.constantFrom("..", "/../x", "\0", "a\nb", "/", "-", " ", "localhost/", "\ufeff", "x".repeat(300)),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ unit: "binary", maxLength: 20 }),
);

const int64 = fc.oneof(fc.constantFrom(0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)), fc.bigInt(-3n, 70_000n));
const int32 = fc.oneof(
  fc.constantFrom(0, 1, -1, 2 ** 31 - 1, -(2 ** 31)),
  fc.integer({ min: -3, max: 70_000 }),
);
const uint32 = fc.oneof(fc.constantFrom(0, 1, 2 ** 32 - 1), fc.nat(70_000));
const uint64 = fc.oneof(fc.constantFrom(0n, 1n, 2n ** 64n - 1n), fc.bigInt(0n, 70_000n));

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 20 });
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.INT64:
      return int64;
    case ScalarType.UINT64:
      return uint64;
    case ScalarType.INT32:
      return int32;
    case ScalarType.UINT32:
      return uint32;
    case ScalarType.DOUBLE:
      return fc.double();
    default:
      throw new Error(`no generator for scalar type ${type}`);
  }
}

function enumValue(type: DescEnum): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(...type.values.map((value) => value.number)) },
    fc.integer({ min: -1, max: 100 }),
  );
}

function single(field: DescField): fc.Arbitrary<unknown> {
  if (field.message !== undefined) return messageOfType(field.message);
  if (field.enum !== undefined) return enumValue(field.enum);
  return scalar(field.scalar!);
}

function value(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === "list") return fc.array(single(field), { maxLength: 3 });
  if (field.fieldKind === "map") return fc.dictionary(text, single(field), { maxKeys: 3 });
  return single(field);
}

const known = new Map<DescMessage, fc.Arbitrary<Message>>();

/** Any message of a type, each field present or not; no type of the interface contains itself. */
export function messageOfType(type: DescMessage): fc.Arbitrary<Message> {
  let arbitrary = known.get(type);
  if (arbitrary === undefined) {
    const fields = Object.fromEntries(type.fields.map((field) => [field.localName, value(field)]));
    arbitrary = fc.record(fields, { requiredKeys: [] }).map((init) => create(type, init as never));
    known.set(type, arbitrary);
  }
  return arbitrary;
}
