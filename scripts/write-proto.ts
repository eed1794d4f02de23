// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The interface as data: what proto/cri-v1.json holds. */
export interface InterfaceData {
  readonly package: string;
  readonly syntax: "proto3";
  readonly module: string;
  readonly moduleVersion: string;
  readonly services: readonly ServiceData[];
  readonly messages: readonly MessageData[];
  readonly enums: readonly EnumData[];
}

export interface ServiceData {
  readonly name: string;
  readonly methods: readonly {
    readonly name: string;
    readonly input: string;
    readonly output: string;
    readonly clientStreaming: boolean;
    readonly serverStreaming: boolean;
  }[];
}

export interface MessageData {
  readonly name: string;
  readonly fields: readonly FieldData[];
}

export interface FieldData {
  readonly name: string;
  readonly number: number;
  /** A scalar, `map`, or the name of a message or enum; a nested one as `Outer.Inner`. */
  readonly type: string;
  readonly label: "singular" | "repeated" | "map" | "optional";
  readonly mapKey?: string;
  readonly mapValue?: string;
  readonly oneof?: string;
  readonly debugRedact?: boolean;
  readonly deprecated?: boolean;
}

export interface EnumData {
  /** `Outer.Inner` for an enum nested in a message. */
  readonly name: string;
  readonly values: readonly { readonly name: string; readonly number: number }[];
}

/** The data as the text of a .proto file. */
export function protoText(data: InterfaceData): string {
  const topLevelEnums = data.enums.filter((entry) => !entry.name.includes("."));
  const parts = [
    ...data.services.map(serviceText),
    ...data.messages.map((message) => messageText(message, data.enums)),
    ...topLevelEnums.map((entry) => enumText(entry, entry.name, "")),
  ];
  return [
    "// SPDX-License-Identifier: Apache-2.0",
    "",
    `// ${data.module} ${data.moduleVersion}, written from cri-v1.json by scripts/write-proto.ts.`,
    `syntax = "${data.syntax}";`,
    "",
    `package ${data.package};`,
    "",
    `${parts.join("\n\n")}\n`,
  ].join("\n");
}

function serviceText(service: ServiceData): string {
  const lines = service.methods.map((method) => {
    const input = `${method.clientStreaming ? "stream " : ""}${method.input}`;
    const output = `${method.serverStreaming ? "stream " : ""}${method.output}`;
    return `  rpc ${method.name}(${input}) returns (${output});`;
  });
  return `service ${service.name} {\n${lines.join("\n")}\n}`;
}

function messageText(message: MessageData, enums: readonly EnumData[]): string {
  const prefix = `${message.name}.`;
  const nested = enums
    .filter((entry) => entry.name.startsWith(prefix))
    .map((entry) => enumText(entry, entry.name.slice(prefix.length), "  "));
  const lines = [...nested, ...message.fields.filter((field) => field.oneof === undefined).map(fieldText)];
  for (const oneof of new Set(message.fields.map((field) => field.oneof))) {
    if (oneof === undefined) continue;
    const members = message.fields.filter((field) => field.oneof === oneof).map(fieldText);
    lines.push(`  oneof ${oneof} {\n${members.map((line) => `  ${line}`).join("\n")}\n  }`);
  }
  return lines.length === 0
    ? `message ${message.name} {}`
    : `message ${message.name} {\n${lines.join("\n")}\n}`;
}

function fieldText(field: FieldData): string {
  const options = [
    ...(field.debugRedact ? ["debug_redact = true"] : []),
    ...(field.deprecated ? ["deprecated = true"] : []),
  ];
  const suffix = options.length === 0 ? "" : ` [${options.join(", ")}]`;
  const type = field.label === "map" ? `map<${field.mapKey}, ${field.mapValue}>` : field.type;
  const label = field.label === "repeated" || field.label === "optional" ? `${field.label} ` : "";
  return `  ${label}${type} ${field.name} = ${field.number}${suffix};`;
}

function enumText(entry: EnumData, name: string, indent: string): string {
  const aliased = new Set(entry.values.map((value) => value.number)).size < entry.values.length;
  const lines = entry.values.map((value) => `${indent}  ${value.name} = ${value.number};`);
  if (aliased) lines.unshift(`${indent}  option allow_alias = true;`);
  return `${indent}enum ${name} {\n${lines.join("\n")}\n${indent}}`;
}

if (import.meta.main) {
  const directory = join(import.meta.dir, "..", "proto");
  const data = JSON.parse(readFileSync(join(directory, "cri-v1.json"), "utf8")) as InterfaceData;
  writeFileSync(join(directory, "runtime", "v1", "api.proto"), protoText(data));
}
