// SPDX-License-Identifier: Apache-2.0

/** Writes docs/cri.md: each call and field of the interface with what podrt does about it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { FieldData, InterfaceData } from "./write-proto.ts";

/**
 * What is said of a field: for one that clients send `honoured`, `refused` (an error that names it) or
 * `ignored` (on purpose), for one that only answers have `filled` or `empty`; then why or how.
 */
export type Verdict = "honoured" | "refused" | "ignored" | "filled" | "empty";

/** docs/cri-coverage.yaml: verdicts by message and field, a sentence for each call. */
export interface Coverage {
  readonly methods: Readonly<Record<string, string>>;
  readonly messages: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

const docsDir = join(import.meta.dir, "..", "docs");
export const pageFile = join(docsDir, "cri.md");

export function readInterface(): InterfaceData {
  return JSON.parse(readFileSync(join(docsDir, "..", "proto", "cri-v1.json"), "utf8")) as InterfaceData;
}

export function readCoverage(): Coverage {
  return parse(readFileSync(join(docsDir, "cri-coverage.yaml"), "utf8"), { uniqueKeys: true }) as Coverage;
}

/** `refused; Windows pods are not supported` as its two parts. */
export function splitVerdict(text: string): { verdict: Verdict; note: string } {
  const [, verdict = "", note = ""] =
    /^(honoured|refused|ignored|filled|empty)(?:; (.+))?$/s.exec(text) ?? [];
  if (verdict === "") throw new Error(`docs/cri-coverage.yaml: "${text}" begins with no verdict`);
  return { verdict: verdict as Verdict, note };
}

/** The names of the messages that can be inside a message of one of `roots`, and those themselves. */
export function reachableFrom(data: InterfaceData, roots: readonly string[]): Set<string> {
  const byName = new Map(data.messages.map((message) => [message.name, message]));
  const reached = new Set<string>();
  const visit = (name: string) => {
    const message = byName.get(name);
    if (message === undefined || reached.has(name)) return;
    reached.add(name);
    for (const field of message.fields) visit(field.mapValue ?? field.type);
  };
  for (const root of roots) visit(root);
  return reached;
}

/** The page as Markdown. */
export function criPage(data: InterfaceData, coverage: Coverage): string {
  const methods = data.services.flatMap((service) => service.methods);
  const sent = reachableFrom(
    data,
    methods.map(({ input }) => input),
  );
  const counts = countVerdicts(coverage);
  const parts = [
    "# The CRI, call by call and field by field",
    "Generated from the interface's descriptor and `docs/cri-coverage.yaml` by `make gen`; do not edit.",
    `${data.module} ${data.moduleVersion}: ${methods.length} calls, ${data.messages.length} messages. Of the fields ` +
      `that clients send, ${counts.honoured} are honoured, ${counts.refused} refused with an error that names ` +
      `them, ${counts.ignored} ignored on purpose. Of those that only answers have, ${counts.filled} are filled ` +
      `and ${counts.empty} stay empty.`,
    "## Calls",
    ...data.services.map((service) =>
      [
        `### ${service.name}`,
        "",
        ...table(
          ["call", "what it does"],
          service.methods.map(({ name }) => [`\`${name}\``, coverage.methods[name] ?? ""]),
        ),
      ].join("\n"),
    ),
    "## What clients send",
    ...messageTables(data, coverage, (name) => sent.has(name)),
    "## What only answers have",
    ...messageTables(data, coverage, (name) => !sent.has(name)),
  ];
  return `${parts.join("\n\n")}\n`;
}

function countVerdicts(coverage: Coverage): Record<Verdict, number> {
  const counts: Record<Verdict, number> = { honoured: 0, refused: 0, ignored: 0, filled: 0, empty: 0 };
  for (const fields of Object.values(coverage.messages))
    for (const text of Object.values(fields)) counts[splitVerdict(text).verdict]++;
  return counts;
}

function messageTables(
  data: InterfaceData,
  coverage: Coverage,
  isShown: (name: string) => boolean,
): string[] {
  return data.messages
    .filter(({ name, fields }) => fields.length > 0 && isShown(name))
    .map(({ name, fields }) =>
      [
        `### ${name}`,
        "",
        ...table(
          ["field", "type", "", ""],
          fields.map((field) => {
            const { verdict, note } = splitVerdict(coverage.messages[name]?.[field.name] ?? "");
            return [`\`${field.name}\``, typeText(field), verdict, note];
          }),
        ),
      ].join("\n"),
    );
}

function typeText(field: FieldData): string {
  if (field.label === "map") return `map of ${field.mapKey} to ${field.mapValue}`;
  return field.label === "repeated" ? `list of ${field.type}` : field.type;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${" --- |".repeat(head.length)}`, ...rows.map(line)];
}

if (import.meta.main) writeFileSync(pageFile, criPage(readInterface(), readCoverage()));
