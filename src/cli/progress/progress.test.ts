// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type ImageProgress, ImageProgressSchema } from "../../gen/podrt/v1/podrt_pb.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { timeLeft } from "../human.ts";
import type { Terminal } from "../io.ts";
import { imageLines } from "./image-lines.ts";
import { liveView } from "./live-view.ts";
import { measurePaces } from "./pace.ts";
import { rateMeter, secondsLeft } from "./rate.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const MB = 1_000_000n;
const IMAGE = "docker.io/library/nginx:latest";

type Message = MessageInitShape<typeof ImageProgressSchema> & { $typeName?: never };

const DOWNLOADING: Message = {
  reference: IMAGE,
  phase: "fetching",
  step: "fetching 1/4 layers",
  doneBytes: 30n * MB,
  totalBytes: 60n * MB,
  layers: [
    { digest: digest("1"), state: "present", doneBytes: 5n * MB, totalBytes: 5n * MB },
    {
      digest: digest("2"),
      state: "downloaded",
      doneBytes: 20n * MB,
      keptBytes: 8n * MB,
      totalBytes: 20n * MB,
    },
    { digest: digest("3"), state: "downloading", doneBytes: 10n * MB, totalBytes: 40n * MB },
    { digest: digest("4"), state: "waiting", totalBytes: 0n },
  ],
};
const message = (changes: Partial<Message> = {}): ImageProgress =>
  create(ImageProgressSchema, { ...DOWNLOADING, ...changes });
const later: Message = {
  ...DOWNLOADING,
  doneBytes: 40n * MB,
  layers: [
    ...DOWNLOADING.layers!.slice(0, 2),
    { digest: digest("3"), state: "unpacking", doneBytes: 40n * MB, totalBytes: 40n * MB },
    { digest: digest("4"), state: "done" },
  ],
};

/** Paces after two seconds at which ten megabytes have come in each. */
function paced() {
  const paces = measurePaces();
  const part = (done: bigint) =>
    message({
      doneBytes: done + 20n * MB,
      layers: DOWNLOADING.layers!.with(2, { ...DOWNLOADING.layers![2]!, doneBytes: done } as never),
    });
  for (const second of [0, 1, 2]) paces.note(part(10n * MB * BigInt(second)), second * 1000);
  return { paces, image: part(20n * MB) };
}

/** A control sequence, or a character. */
const PIECES = new RegExp(`${String.fromCharCode(27)}\\[(\\d*[A-Z])|[\\s\\S]`, "g");

/** What a terminal shows after it was written to: rows as long as `width`, and beyond that the next. */
function screenAfter(text: string, width: number): string[] {
  const rows: string[][] = [[]];
  let [row, column] = [0, 0];
  for (const [piece, control] of text.matchAll(PIECES)) {
    if (piece === "\r") column = 0;
    else if (piece === "\n") row++;
    else if (control?.endsWith("A")) row -= Number(control.slice(0, -1));
    else if (control === "K") rows[row]!.length = column;
    else if (control === "J") {
      rows[row]!.length = column;
      rows.length = row + 1;
    } else {
      if (column === width) [row, column] = [row + 1, 0];
      rows[row] ??= [];
      rows[row]![column++] = piece;
    }
    if (row < 0) throw new Error("the cursor went above what was drawn");
    rows[row] ??= [];
  }
  return rows.map((cells) => Array.from(cells, (cell) => cell ?? " ").join(""));
}

describe("rates", () => {
  test("a rate is that of the last seconds, and falls while nothing comes", () => {
    const meter = rateMeter();
    meter.note(0, 0);
    expect(meter.perSecond(100)).toBeUndefined();
    for (let ms = 200; ms <= 10_000; ms += 200) meter.note(ms < 5000 ? 0 : (ms - 5000) * 100, ms);
    expect(meter.perSecond(10_000)).toBeGreaterThan(90_000);
    expect(meter.perSecond(20_000)).toBeLessThan(50_000);
  });

  test("what is fetched from its beginning again has no rate before it", () => {
    const meter = rateMeter();
    for (const second of [0, 1, 2]) meter.note(second * 1000, second * 1000);
    meter.note(10, 3000);
    expect(meter.perSecond(3000)).toBeUndefined();
  });

  test("time left is told in the two units that say most", () => {
    expect([8, 185, 7620, 400_000].map(timeLeft)).toEqual(["8s", "3m05s", "2h07m", "days"]);
    expect([secondsLeft(100, 10), secondsLeft(100, undefined), secondsLeft(0, undefined)]).toEqual([
      10,
      undefined,
      0,
    ]);
  });
});

describe("on a terminal", () => {
  test("an image has a line, and each layer one, with bytes, rate and time left", () => {
    const { paces, image } = paced();
    expect(imageLines(image, paces, 2000, { width: 100, rows: 20 })).toEqual([
      `${IMAGE}: 1/4 layers, 40MB/60MB, 10MB/s, 2s left`,
      "  1111111111111  already here",
      "  2222222222222  downloaded, 20MB, 8MB of it by an earlier pull",
      "  3333333333333  [==============>             ]   20MB/40MB     10MB/s     2s",
      "  4444444444444  waiting",
    ]);
  });

  test.each([120, 60, 40, 20, 2])("no line is wider than a terminal of %i columns", (width) => {
    const { paces, image } = paced();
    const lines = imageLines(image, paces, 2000, { width, rows: 20 });
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(width);
  });

  test("where there are too few rows, layers that nothing is done with are left out", () => {
    const { paces, image } = paced();
    expect(
      imageLines(image, paces, 2000, { width: 60, rows: 4 })
        .slice(1)
        .map((line) => line.slice(0, 15)),
    ).toEqual(["  2222222222222", "  3333333333333", "  ... and 2 mor"]);
  });

  test("lines are drawn over what they were, also in a terminal that became narrower, and go at the end", async () => {
    let text = "";
    let width = 70;
    const view = liveView({ size: () => ({ width, height: 24 }) }, async (piece) => {
      text += piece;
    });
    await view.show([message()]);
    expect(screenAfter(text, width)).toHaveLength(5);
    await Bun.sleep(100);
    await view.show([message(later)]);
    expect(screenAfter(text, width)[3]).toBe("  3333333333333  unpacking");
    expect(screenAfter(text, width)).toHaveLength(5);
    const narrow = screenAfter(text, width).flatMap((row) => row.match(/.{1,30}/g) ?? [""]);
    width = 30;
    const before = text.length;
    await view.clear();
    const reflowed = `${narrow.join("\r\n")}${text.slice(before)}`;
    expect(screenAfter(reflowed, width)).toEqual([""]);
  });
});

describe("commands", () => {
  const stored = { image: { id: digest("9"), reference: IMAGE } };
  const pulling = (...messages: Message[]) =>
    startFakeDaemon({
      pods: {
        async *pull() {
          yield* messages;
          yield stored;
        },
      },
    });
  const terminal: Terminal = {
    size: () => ({ width: 60, height: 24 }),
    onResize: () => () => {},
    setRaw: () => {},
  };

  test("in a pipe each step is a line, told once", async () => {
    await using daemon = await pulling(
      { reference: IMAGE, phase: "resolving", step: "resolving" },
      DOWNLOADING,
      DOWNLOADING,
      later,
    );
    expect(await runCommand(daemon.socketPath, ["pull", "nginx"])).toEqual({
      exitCode: 0,
      out: `${IMAGE} 9999999999999\n`,
      err: [
        `${IMAGE}: resolving`,
        `${IMAGE}: 4 layers, 3 new, 60MB to fetch`,
        `${IMAGE}: layer 1111111111111: already here`,
        `${IMAGE}: layer 2222222222222: downloaded, 20MB, 8MB of it by an earlier pull`,
        `${IMAGE}: layer 4444444444444: done`,
        "",
      ].join("\n"),
    });
  });

  test("on a terminal nothing but the result is left", async () => {
    await using daemon = await pulling(DOWNLOADING);
    const { out, err } = await runCommand(daemon.socketPath, ["pull", "nginx"], { terminal });
    expect(out).toBe(`${IMAGE} 9999999999999\n`);
    expect(err).toContain("  3333333333333  ");
    expect(screenAfter(err, 60)).toEqual([""]);
  });

  test("for programs each report is an object on a line", async () => {
    await using daemon = await pulling(DOWNLOADING, DOWNLOADING, later);
    const { out, err } = await runCommand(daemon.socketPath, ["pull", "-o", "json", "nginx"]);
    const lines = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatchObject({
      reference: IMAGE,
      phase: "fetching",
      doneBytes: 30e6,
      totalBytes: 60e6,
      bytesPerSecond: null,
      secondsLeft: null,
    });
    expect(lines[0].layers[1]).toEqual({
      digest: digest("2"),
      state: "downloaded",
      doneBytes: 20e6,
      keptBytes: 8e6,
      totalBytes: 20e6,
    });
    expect(lines.at(-1)).toEqual(stored);
    expect(err).toBe("");
  });

  test("while a pod waits for its image, run shows how that is pulled, and of other pulls nothing", async () => {
    let looks = 0;
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => ({ pods: [{ namespace: "default", name: "demo", uid: "u1" }] }),
        listPulls() {
          looks++;
          if (looks > 1) daemon.pods[0]!.phase = "Succeeded";
          return { pulls: [DOWNLOADING, { ...DOWNLOADING, reference: "docker.io/library/other:latest" }] };
        },
        deletePod: () => ({}),
      },
    });
    daemon.pods = [
      {
        name: { namespace: "default", name: "demo", uid: "u1" },
        phase: "Pending",
        containers: [{ name: "web", image: "nginx", state: "waiting" }],
      },
    ];
    const manifest = `${daemon.directory}/pod.yaml`;
    await Bun.write(manifest, "kind: Pod");
    const text = await runCommand(daemon.socketPath, ["run", manifest]);
    expect(text.err).toContain(`${IMAGE}: 4 layers, 3 new, 60MB to fetch\n`);
    expect(text.err).not.toContain("other");
    daemon.pods[0]!.phase = "Pending";
    looks = 0;
    const json = await runCommand(daemon.socketPath, ["run", "-o", "json", manifest]);
    expect(JSON.parse(json.err.split("\n")[0]!)).toMatchObject({ reference: IMAGE });
    const detached = await runCommand(daemon.socketPath, ["run", "-d", "-o", "json", manifest]);
    expect(JSON.parse(detached.out)).toEqual({ pod: { namespace: "default", name: "demo", uid: "u1" } });
  });
});
