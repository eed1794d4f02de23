// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import type { PodUsage, Usage } from "../stats/usage.ts";
import { keysOf } from "./keys.ts";
import { rowsOf, screenLines, type View } from "./view.ts";

function usage(pod: string, container: string | undefined, figures: Partial<Usage> = {}): Usage {
  const none = { id: "", state: "Running", isMeasured: true, restarts: 0 };
  const unknown = { processes: undefined, received: undefined, sent: undefined, read: undefined };
  const rates = { receivedRate: undefined, sentRate: undefined, readRate: undefined, writtenRate: undefined };
  const cgroup = { cpuPercent: undefined, memoryBytes: undefined, memoryLimitBytes: undefined };
  return { ...none, ...unknown, ...rates, ...cgroup, written: undefined, pod, container, ...figures };
}

const pods: readonly PodUsage[] = [
  {
    own: usage("busy", undefined, { cpuPercent: 90, memoryBytes: 2 ** 20, received: 5, processes: 2 }),
    containers: [usage("busy", "one", { cpuPercent: 30 }), usage("busy", "two", { cpuPercent: 60 })],
  },
  {
    own: usage("large", undefined, { cpuPercent: 1, memoryBytes: 2 ** 30, restarts: 4, receivedRate: 1 }),
    containers: [usage("large", "app", { memoryBytes: 2 ** 30, memoryLimitBytes: 2 ** 31 })],
  },
  { own: usage("broken", undefined, { state: "ErrImagePull", isMeasured: false }), containers: [] },
];

const view: View = { sort: "cpu", isReversed: false, hasContainers: true, offset: 0 };
const plain = (text: string) => text;

function screen(width: number, height: number, change: Partial<View> = {}, note?: string) {
  const size = { width, height };
  return screenLines({ pods, view: { ...view, ...change }, size, note, time: "12:00:00" }, plain);
}

test("pods stand in the chosen order, each above its containers, which are in the same", () => {
  const names = (change: Partial<View>) =>
    rowsOf(pods, { ...view, ...change }).map(({ pod, container }) => container ?? pod);
  expect(names({})).toEqual(["busy", "two", "one", "large", "app", "broken"]);
  expect(names({ isReversed: true })).toEqual(["broken", "large", "app", "busy", "one", "two"]);
  expect(names({ hasContainers: false, sort: "memory" })).toEqual(["large", "busy", "broken"]);
  expect(names({ hasContainers: false, sort: "restarts" })).toEqual(["large", "broken", "busy"]);
  expect(names({ hasContainers: false, sort: "network" })).toEqual(["large", "busy", "broken"]);
  expect(names({ hasContainers: false, sort: "pids" })).toEqual(["busy", "broken", "large"]);
  expect(names({ hasContainers: false, sort: "name" })).toEqual(["broken", "busy", "large"]);
});

describe("the screen", () => {
  test("has the totals, a heading, the rows and the keys", () => {
    const { lines } = screen(120, 10);
    expect(lines).toHaveLength(10);
    expect(lines[0]).toBe("podrt top  12:00:00  pods 3, containers running 3, CPU 91.0 %, memory 1GiB");
    const heading =
      "NAME    STATE         CPU%*  MEMORY  LIMIT  MEM%  PIDS  IN/S  OUT/S  READ/S  WRITE/S  RESTARTS";
    expect(
      lines[1]!.replaceAll("\u001b[7m", "").replaceAll("\u001b[27m", "").replaceAll(/ +/g, " ").trim(),
    ).toBe(heading.replaceAll(/ +/g, " "));
    expect(lines[2]).toMatch(/^busy +Running +90\.0 +1MiB +- +- +2 /);
    expect(lines[3]).toMatch(/^ {2}two +Running +60\.0 /);
    expect(lines[6]).toMatch(/^ {2}app +Running +- +1GiB +2GiB +50\.0 /);
    expect(lines[7]).toMatch(/^broken +ErrImagePull +- /);
    expect(lines[9]).toStartWith("q quit  c cpu");
  });

  test("fits into any terminal: columns go before the name is cut", () => {
    for (const width of [1, 5, 10, 20, 40, 60, 80, 200]) {
      for (const height of [1, 2, 3, 4, 5, 9, 30]) {
        const { lines } = screen(width, height);
        expect(lines.length).toBeLessThanOrEqual(Math.max(height, 1));
        for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(Math.max(width, 12));
      }
    }
    expect(screen(40, 10).lines[2]).toMatch(/^busy +90\.0 +1MiB/);
  });

  test("scrolls, but not beyond its rows", () => {
    expect(
      screen(80, 5, { offset: 1 })
        .lines.slice(2, 4)
        .map((line) => line.trim().split(" ")[0]),
    ).toEqual(["two", "one"]);
    expect(screen(80, 5, { offset: 99 }).offset).toBe(4);
    expect(screen(80, 5, { offset: -3 }).offset).toBe(0);
    expect(screen(80, 5, { offset: 99 }).lines[4]).toStartWith("5-6 of 6  q quit");
    expect(screen(80, 50, { offset: 3 }).offset).toBe(0);
  });

  test("says in place of the totals what is amiss", () => {
    expect(screen(80, 5, {}, "the daemon is away").lines[0]).toBe("podrt top  12:00:00  the daemon is away");
  });
});

test("keys are characters and names, however many come at once", () => {
  const typed = "cR\u001b[A\u001bOB\u001b[6~\u001b[1;5Hq\u0003\u001a ";
  expect(keysOf(new TextEncoder().encode(typed))).toEqual([
    "c",
    "R",
    "up",
    "down",
    "page down",
    "q",
    "ctrl-c",
    "ctrl-z",
    " ",
  ]);
  expect(keysOf(new TextEncoder().encode("\u001b[H\u001b[4~\u001b"))).toEqual(["home", "end"]);
});
