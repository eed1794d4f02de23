// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FIELDS } from "../src/kube/manifest/fields.ts";
import type { Field } from "../src/kube/manifest/schema.ts";

/** Writes docs/manifests.md, the fields of a Pod manifest, from the table that the reader of manifests follows. */

export const pageFile = join(import.meta.dir, "..", "docs", "manifests.md");

const INTRODUCTION = `# Fields of a Pod manifest

Generated from \`src/kube/manifest/fields.ts\` by \`make gen\`; do not edit.

What \`podrt run\` honours of the Kubernetes API, core/v1. A field that is refused is refused by name, with file, line and
column, and so is one that is not listed; nothing is ignored. Defaults are Kubernetes's. Where podrt differs from a kubelet:

- A \`postStart\` hook that has not ended after ten minutes has failed; Kubernetes sets no bound.
- \`host\` of an HTTP or TCP action is an IP address, reached from the machine; without it the pod's address is
  asked from within the pod's network namespace.
- \`activeDeadlineSeconds\` counts from \`podrt run\`.
`;

export function manifestsPage(): string {
  const sections = Object.entries(FIELDS).map(([name, { shape }]) => {
    const rows = Object.entries(shape as Readonly<Record<string, Field>>).map(
      ([field, rule]) => `| ${field} | ${verdict(rule)} |`,
    );
    return [`## ${name}`, "", "| field | |", "|---|---|", ...rows, ""].join("\n");
  });
  return [INTRODUCTION, ...sections].join("\n");
}

function verdict(field: Field): string {
  if (field.kind === "unsupported") return `refused: ${field.why}`;
  const [schema, more] = field.kind === "required" ? [field.schema, ", required"] : [field, ""];
  return `${schema.expected}${more}`.replaceAll("|", "\\|");
}

if (import.meta.main) writeFileSync(pageFile, manifestsPage());
