// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import {
  type EnumData,
  type FieldData,
  type InterfaceData,
  protoText,
  type ServiceData,
} from "../../scripts/write-proto.ts";
import { file_runtime_v1_api as file } from "../gen/runtime/v1/api_pb.ts";

const protoDir = join(import.meta.dir, "..", "..", "proto");
const data = JSON.parse(readFileSync(join(protoDir, "cri-v1.json"), "utf8")) as InterfaceData;

const scalarNames = Object.fromEntries(
  Object.entries(ScalarType).map(([name, number]) => [number, name.toLowerCase()]),
);

/** The name of a type relative to the package, nested ones as `Outer.Inner`. */
function relative(type: DescMessage | DescEnum): string {
  return type.typeName.slice(`${data.package}.`.length);
}

function typeOf(field: DescField): string {
  if (field.message !== undefined) return relative(field.message);
  if (field.enum !== undefined) return relative(field.enum);
  return scalarNames[field.scalar!]!;
}

function fieldAsData(field: DescField): FieldData {
  const isMap = field.fieldKind === "map";
  const singular = field.proto.proto3Optional ? "optional" : "singular";
  return {
    name: field.name,
    number: field.number,
    type: isMap ? "map" : typeOf(field),
    label: isMap ? "map" : field.fieldKind === "list" ? "repeated" : singular,
    ...(isMap ? { mapKey: scalarNames[field.mapKey]!, mapValue: typeOf(field) } : {}),
    ...(field.oneof ? { oneof: field.oneof.name } : {}),
    ...(field.proto.options?.debugRedact ? { debugRedact: true } : {}),
    ...(field.deprecated ? { deprecated: true } : {}),
  };
}

function enumAsData(entry: DescEnum): EnumData {
  return {
    name: relative(entry),
    values: entry.values.map((value) => ({ name: value.name, number: value.number })),
  };
}

function byName<T extends { readonly name: string }>(entries: readonly T[]): T[] {
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function byNumber(fields: readonly FieldData[]): FieldData[] {
  return fields.toSorted((a, b) => a.number - b.number);
}

describe("the built descriptor", () => {
  test("is of the package and syntax that the data names", () => {
    expect(file.proto.package).toBe(data.package);
    expect(file.proto.syntax).toBe(data.syntax);
    expect(file.proto.name).toBe("runtime/v1/api.proto");
  });

  test("has every service and method of the data, and no other", () => {
    const services = file.services.map(
      (service): ServiceData => ({
        name: service.name,
        methods: byName(
          service.methods.map((method) => ({
            name: method.name,
            input: relative(method.input),
            output: relative(method.output),
            clientStreaming: method.proto.clientStreaming,
            serverStreaming: method.proto.serverStreaming,
          })),
        ),
      }),
    );
    const expected = data.services.map((service) => ({ ...service, methods: byName(service.methods) }));
    expect(byName(services)).toEqual(byName(expected));
    expect(services.flatMap((service) => service.methods)).toHaveLength(43);
  });

  test("has every message with every field, number, type, label, option of the data, and no other", () => {
    const built = byName(
      file.messages.map((message) => ({
        name: message.name,
        fields: byNumber(message.fields.map(fieldAsData)),
      })),
    );
    const expected = byName(
      data.messages.map((message) => ({ name: message.name, fields: byNumber(message.fields) })),
    );
    expect(built).toEqual(expected);
    expect(built).toHaveLength(175);
    expect(built.flatMap((message) => message.fields)).toHaveLength(478);
  });

  test("has every enum with every value of the data, and no other", () => {
    const nested = file.messages.flatMap((message) => message.nestedEnums);
    const built = byName([...file.enums, ...nested].map(enumAsData));
    expect(built).toEqual(byName(data.enums));
  });

  test("is built from the text that the data gives", () => {
    expect(readFileSync(join(protoDir, "runtime/v1/api.proto"), "utf8")).toBe(protoText(data));
  });
});
