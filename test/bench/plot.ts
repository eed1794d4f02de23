// SPDX-License-Identifier: Apache-2.0
import { headOf, type MeasuredRow, type Report, ratioOf } from "./report.ts";

/*
 * The report as a picture (SVG 1.1): a line for each row, on which each peer's dot says how many times worse than podrt
 * it was, on a logarithmic axis. podrt is the line at 1; what stands left of it was better than podrt.
 */

const width = 1020;
const nameWidth = 460;
const margin = 24;
const legendWidth = 130;
const lineHeight = 22;
const headHeight = 84;
const footHeight = 56;
/** Of the axis: dots beyond its ends stand at them. */
const [lowest, highest] = [0.1, 1000];
const colors = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#7f7f7f"];

export function plotOf(report: Report): string {
  const rows = report.rows.filter(({ best }) => best !== undefined);
  const names = Object.keys(report.versions).filter(
    (name) => name !== "podrt" && rows.some(({ values }) => name in values),
  );
  const color = (name: string) => colors[names.indexOf(name) % colors.length]!;
  const height = headHeight + rows.length * lineHeight + footHeight;
  const bottom = headHeight + rows.length * lineHeight;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    '  font-family="system-ui, sans-serif" font-size="12" fill="#222222">',
    `<title>${escaped(headOf(report))}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(margin, 26, "How many times worse than podrt", 'font-size="16" font-weight="bold"'),
    text(margin, 44, `${report.machine}; ${report.date}`, 'fill="#666666"'),
    ...names.flatMap((name, index) => {
      const x = margin + index * legendWidth;
      return [dot(x + 5, 62, color(name)), text(x + 15, 66, name)];
    }),
    dash(margin + names.length * legendWidth + 5, 62),
    text(margin + names.length * legendWidth + 15, 66, "target"),
    ...axis(bottom),
    ...rows.flatMap((row, index) => {
      const y = headHeight + index * lineHeight + lineHeight / 2;
      return [...lineOf(row, y), ...names.flatMap((name) => dotOf(row, name, y, color(name)))];
    }),
    text(
      margin,
      height - 14,
      "left of 1: better than podrt. Medians; make bench repeats it.",
      'fill="#666666"',
    ),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

function axis(bottom: number): string[] {
  const ticks = [0.1, 1, 10, 100, 1000];
  return ticks.flatMap((tick) => {
    const x = place(tick);
    const stroke = tick === 1 ? 'stroke="#222222" stroke-width="2"' : 'stroke="#dddddd"';
    return [
      `<line x1="${x}" y1="${headHeight}" x2="${x}" y2="${bottom}" ${stroke}/>`,
      text(x, bottom + 16, tick === 1 ? "podrt" : String(tick), 'text-anchor="middle"'),
    ];
  });
}

function lineOf({ title, target }: MeasuredRow, y: number): string[] {
  const parts = [
    text(nameWidth - 12, y + 4, title, 'text-anchor="end"'),
    `<line x1="${nameWidth}" y1="${y}" x2="${width - margin}" y2="${y}" stroke="#eeeeee"/>`,
  ];
  const wanted = typeof target === "object" && "times" in target ? target.times : undefined;
  return wanted === undefined ? parts : [...parts, dash(place(wanted), y)];
}

function dotOf(row: MeasuredRow, name: string, y: number, color: string): string[] {
  const [own, theirs] = [row.values["podrt"], row.values[name]];
  if (own === undefined || theirs === undefined) return [];
  const ratio = ratioOf(row, own.p50, theirs.p50);
  return [dot(place(ratio), y, color, `${name}: ${ratio.toFixed(1)} times`)];
}

function place(ratio: number): number {
  const within = Math.min(highest, Math.max(lowest, ratio));
  const part = Math.log(within / lowest) / Math.log(highest / lowest);
  return Math.round((nameWidth + part * (width - margin - nameWidth)) * 10) / 10;
}

function dot(x: number, y: number, color: string, title = ""): string {
  const inside = title === "" ? "" : `<title>${escaped(title)}</title>`;
  return `<circle cx="${x}" cy="${y}" r="5" fill="${color}">${inside}</circle>`;
}

function dash(x: number, y: number): string {
  return `<line x1="${x}" y1="${y - 8}" x2="${x}" y2="${y + 8}" stroke="#d55e00" stroke-width="3"/>`;
}

function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${x}" y="${y}"${more === "" ? "" : ` ${more}`}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
