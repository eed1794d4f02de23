// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseConfig } from "../src/config.ts";
import { FIELDS } from "../src/kube/manifest/fields.ts";
import type { Shape } from "../src/kube/manifest/schema.ts";
import { WORKLOAD_FIELDS } from "../src/kube/manifest/workload-fields.ts";

// What the pages for readers say about each other and about the source.

const projectDir = resolve(import.meta.dir, "..");
const pages = ["README.md", "docs", "examples", "pause", "test"].flatMap((name) =>
  name.endsWith(".md")
    ? [name]
    : readdirSync(join(projectDir, name), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".md"))
        .map((file) => join(name, file)),
);
const textOf = (page: string) => readFileSync(join(projectDir, page), "utf8");
const withoutCode = (text: string) => text.replaceAll(/^```.*?^```/gms, "");

/** As GitHub makes the anchor of a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

const anchorsOf = (page: string) =>
  [...withoutCode(textOf(page)).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!));

test("each link of a page leads to a file, and to a heading of it", () => {
  const links = pages.flatMap((page) =>
    [...withoutCode(textOf(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => ({ page, link: link! })),
  );
  expect(links.length).toBeGreaterThan(50);
  const dead = links.filter(({ page, link }) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? page : join(dirname(page), path);
    if (!existsSync(join(projectDir, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
  expect(dead).toEqual([]);
});

test("each file of the project that a page names is there", () => {
  const named = pages.flatMap((page) =>
    [
      ...withoutCode(textOf(page)).matchAll(/`((?:src|test|scripts|docs|examples|systemd|proto)\/[^`\s]+)`/g),
    ].map(([, path]) => ({ page, path: path! })),
  );
  expect(named.length).toBeGreaterThan(100);
  const missing = named.filter(
    ({ path }) => [...new Bun.Glob(path).scanSync({ cwd: projectDir, onlyFiles: false })].length === 0,
  );
  expect(missing).toEqual([]);
});

test("each source that a page names without its folder is somewhere in the project", () => {
  const known = new Set(
    ["src", "test", "scripts"]
      .flatMap((dir) => readdirSync(join(projectDir, dir), { recursive: true, encoding: "utf8" }))
      .map((file) => basename(file)),
  );
  const named = pages.flatMap((page) =>
    [...withoutCode(textOf(page)).matchAll(/`([\w.-]+\.ts)`/g)].map(([, file]) => ({ page, file: file! })),
  );
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter(({ file }) => !known.has(file))).toEqual([]);
});

test("each configuration that a page shows is one", () => {
  const shown = pages.flatMap((page) =>
    [...textOf(page).matchAll(/^```toml\n(.*?)^```/gms)].map(([, text]) => ({ page, text: text! })),
  );
  expect(shown.length).toBeGreaterThan(1);
  for (const { page, text } of shown) expect(() => parseConfig(text, "", page)).not.toThrow();
});

const architecture = textOf("docs/architecture.md");
const waysOfCalls = architecture
  .split(/^(?=## )/m)
  .filter((section) => section.startsWith("## The way of"))
  .join("");

test("each function on the way of a call is in the file that stands beside it", () => {
  const named = [...waysOfCalls.matchAll(/((?:`\w+`(?:, | and )?)+)\s\(`((?:src|pause)\/[^`]+)`\)/g)].flatMap(
    ([, names, file]) =>
      [...names!.matchAll(/\w+/g)].flatMap(([name]) => (name === "and" ? [] : { name, file: file! })),
  );
  expect(named.length).toBeGreaterThan(40);
  const missing = named.filter(({ name, file }) => !declares(file, name));
  expect(missing).toEqual([]);
});

function declares(file: string, name: string): boolean {
  const declaration = file.endsWith(".S")
    ? `^${name}:`
    : `(function\\*?|class|interface|const) ${name}\\b|^  (async )?${name}\\(`;
  return new RegExp(declaration, "m").test(textOf(file));
}

test("the phases of RunPodSandbox are those of its source, in their order", () => {
  const shown = [...waysOfCalls.matchAll(/^\| `(\w+)` \|/gm)].map(([, phase]) => phase);
  const entered = [...textOf("src/sandbox/run.ts").matchAll(/enterPhase\("(\w+)"\)/g)].map(
    ([, phase]) => phase,
  );
  expect(shown).toEqual(entered);
});

test("each field of a manifest that the comparison says podrt has is one that it honours", () => {
  const shapes = Object.values({ ...FIELDS, ...WORKLOAD_FIELDS }).map(({ shape }) => shape as Shape);
  const isHonoured = (field: string) =>
    shapes.some((shape) => ["schema", "required"].includes(shape[field]?.kind ?? ""));
  const rows = [...textOf("docs/comparison.md").matchAll(/^\| (.*`.*) \| yes \| no \|$/gm)];
  const fields = rows.flatMap(([, cell]) =>
    [...cell!.matchAll(/`(?:\w+\.)*(\w+)`/g)].map(([, field]) => field!),
  );
  expect(fields.length).toBeGreaterThan(15);
  expect(fields.filter((field) => !isHonoured(field))).toEqual([]);
});

test("the README and the page of the comparison have the same table", () => {
  const tableOf = (page: string) => /^\| \| podrt \| containerd .*(?:\n\|.*)+/m.exec(textOf(page))?.[0];
  expect(tableOf("README.md")).toBeDefined();
  expect(tableOf("docs/comparison.md")).toBe(tableOf("README.md")!);
});

test("each package that podrt depends on has its reason in the README", () => {
  const { dependencies, devDependencies } = JSON.parse(textOf("package.json")) as Record<string, object>;
  const names = Object.keys({ ...dependencies, ...devDependencies }).map((name) =>
    name.replace(/\bws-node$/, "ws"),
  );
  const told = /^## What it is built on$(.*?)^## /ms.exec(textOf("README.md"))![1]!;
  const isTold = (name: string) =>
    new RegExp(`(^|[ |/@])${RegExp.escape(name.replace("@opentelemetry/", ""))}([ ,|.]|$)`, "m").test(told);
  expect(names.length).toBeGreaterThan(15);
  expect(names.filter((name) => !isTold(name))).toEqual([]);
});
