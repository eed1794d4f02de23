// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { configSchema, type SettingNotes } from "../src/config/schema.ts";

/** Writes docs/configuration.md: each setting with what it takes, what it is unless told, and what it does. */

export const pageFile = join(import.meta.dir, "..", "docs", "configuration.md");

const INTRODUCTION = `# Configuration

Generated from \`src/config/schema.ts\` by \`make gen\`; do not edit.

podrt reads \`/etc/podrt/config.toml\` when it starts, \`DIR/config.toml\` with \`--root DIR\`, another file with \`--config\`. The file is
optional, and so is each setting in it. What podrt does not know is refused with its place, as is a value that is out of bounds;
a change takes effect at the next start, which leaves pods alone.

\`\`\`toml
[network]
subnet = ["10.85.0.0/16", "fd00:85::/64"]

[registries."docker.io"]
mirrors = ["http://127.0.0.1:5000"]

[registries."registry.local:5000"]
plain_http = true

[image]
pinned = ["registry.local/infra/*"]

[runtimes.runc]
type = "oci"
path = "/usr/sbin/runc"

[metrics]
port = 9327
\`\`\`

Of the environment \`podrt serve\` takes \`PODRT_LOG\`, a level of the log, and the \`OTEL_*\` variables of
[traces](architecture.md#looking-into-it); commands take \`PODRT_SOCKET\`, the socket of the daemon that they speak to.

Bounds of a list are of its entries, those of a text of its characters.
`;

/** What is looked at of valibot's objects; each is a schema, some of them wrap others. */
interface Schema {
  readonly type: string;
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly value?: Schema;
  readonly wrapped?: Schema;
  readonly item?: Schema;
  readonly default?: unknown;
  readonly options?: readonly unknown[];
  readonly literal?: unknown;
  readonly pipe?: readonly Schema[];
  readonly requirement?: unknown;
}

export function configurationPage(): string {
  const sections = Object.entries(configSchema.entries as Readonly<Record<string, Schema>>);
  return [INTRODUCTION, ...sections.map(([name, schema]) => sectionOf(name, schema.wrapped!))].join("\n");
}

function sectionOf(name: string, schema: Schema): string {
  const { key } = metadataOf(schema) as { key?: string };
  const table = key === undefined ? schema : schema.value!;
  const rows = Object.entries(table.entries!).map(([setting, given]) => rowOf(`${name}.${setting}`, given));
  const heading = key === undefined ? `[${name}]` : `[${name}.${key}]`;
  const head = ["| setting | takes | unless told | |", "|---|---|---|---|"];
  return [`## ${heading}`, "", descriptionOf(schema, name), "", ...head, ...rows, ""].join("\n");
}

function rowOf(place: string, given: Schema): string {
  const isOptional = given.type === "optional";
  const schema = isOptional ? given.wrapped! : given;
  const { takes, unset } = metadataOf(schema) as SettingNotes;
  const unlessTold =
    given.default !== undefined
      ? `\`${JSON.stringify(given.default)}\``
      : (unset ?? (isOptional ? "" : "required"));
  if (unlessTold === "")
    throw new Error(`src/config/schema.ts: ${place}: say what is done where it is not set`);
  const cells = [
    place.split(".")[1]!,
    takesOf(schema, takes, place),
    unlessTold,
    descriptionOf(schema, place),
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/** What kind of value it is, in words, with its bounds. */
function takesOf(schema: Schema, takes: string | undefined, place: string): string {
  const bounds = boundsOf(schema);
  const kind = takes ?? kindOf(schema, place);
  return bounds === "" ? kind : `${kind}, ${bounds}`;
}

function kindOf(schema: Schema, place: string): string {
  if (checksOf(schema).some(({ type }) => !KNOWN_CHECKS.has(type)))
    throw new Error(`src/config/schema.ts: ${place}: say what it takes, its checks alone do not tell`);
  switch (schema.type) {
    case "boolean":
      return "`true` or `false`";
    case "number":
      return "a whole number";
    case "string":
      return "a text";
    case "literal":
      return `\`${JSON.stringify(schema.literal)}\``;
    case "picklist":
      return schema.options!.map((option) => `\`${JSON.stringify(option)}\``).join(", ");
    default:
      throw new Error(`src/config/schema.ts: ${place}: say what it takes, ${schema.type} does not tell`);
  }
}

const KNOWN_CHECKS = new Set([
  "integer",
  "min_value",
  "max_value",
  "min_length",
  "max_length",
  "description",
  "metadata",
]);

function boundsOf(schema: Schema): string {
  const checks = checksOf(schema);
  const [from, to] = [
    ["min_value", "min_length"],
    ["max_value", "max_length"],
  ].map((types) => checks.findLast(({ type }) => types.includes(type))?.requirement);
  if (from === undefined && to === undefined) return "";
  return from === undefined ? `at most ${to}` : to === undefined ? `at least ${from}` : `${from} to ${to}`;
}

/** The actions of a schema and of those it is made of by pipes. */
function checksOf(schema: Schema): readonly Schema[] {
  const [first, ...actions] = schema.pipe ?? [];
  return first === undefined ? [] : [...checksOf(first), ...actions];
}

function metadataOf(schema: Schema): Record<string, unknown> {
  return v.getMetadata(schema as unknown as v.GenericSchema) as Record<string, unknown>;
}

function descriptionOf(schema: Schema, place: string): string {
  const description = v.getDescription(schema as unknown as v.GenericSchema);
  if (description === undefined) throw new Error(`src/config/schema.ts: ${place}: say what it does`);
  return description;
}

if (import.meta.main) writeFileSync(pageFile, configurationPage());
