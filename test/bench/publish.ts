// SPDX-License-Identifier: Apache-2.0

/**
 * Puts what `make bench` has measured into docs/comparison.md and docs/bench.svg, and a few rows of it into the README. Of
 * several reports, made one after the other since each takes its time, the rows are put together; a row that is in two
 * is the later one's.
 *
 * usage: bun test/bench/publish.ts [REPORT.json...]   (.build/bench/report.json)
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";
import { groups } from "./groups/all.ts";
import { plotOf } from "./plot.ts";
import { headOf, type Report, shortTableOf } from "./report.ts";

const begin = "<!-- measured: begin -->";
const end = "<!-- measured: end -->";
/** What a newcomer is shown: a pod's life in four calls. */
const headlines: readonly string[] = [
  "RunPodSandbox, bridge",
  "CreateContainer + StartContainer",
  "ExecSync(true)",
  "StopPodSandbox + RemovePodSandbox, bridge",
];

const given = process.argv.slice(2);
const files = given.length > 0 ? given : [join(buildDir, "bench/report.json")];
const reports = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as Report);
const machines = new Set(reports.map(({ machine }) => machine));
if (machines.size > 1)
  throw new Error(`the reports are of ${machines.size} machines: ${[...machines].join("; ")}`);
const last = reports.at(-1)!;
const known = new Map(reports.flatMap(({ rows }) => rows.map((row) => [row.title, row])));
const rows = groups.flatMap((group) => group.rows.flatMap(({ title }) => known.get(title) ?? []));
const versions = Object.assign({}, ...reports.map((report) => report.versions)) as Report["versions"];
const rounds = Math.min(...reports.map((report) => report.rounds));
const whole: Report = { ...last, rounds, versions, rows };

writeFileSync(join(projectDir, "docs/bench.svg"), plotOf(whole));
const picture = (file: string) => ["", `![How many times worse than podrt each is](${file})`];
const headRows = rows.filter(({ title }) => headlines.includes(title));
replaceMeasured("docs/comparison.md", whole, picture("bench.svg"));
replaceMeasured("README.md", { ...whole, rows: headRows }, picture("docs/bench.svg"));

/** Puts a report's head and its table, and what comes after it, between the marks of a page. */
function replaceMeasured(page: string, report: Report, after: readonly string[] = []): void {
  const file = join(projectDir, page);
  const text = readFileSync(file, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} has no ${begin} before ${end}`);
  const content = [begin, headOf(report), "", ...shortTableOf(report), ...after, end].join("\n");
  writeFileSync(file, text.slice(0, from) + content + text.slice(to + end.length));
}
