// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fakeImage, startFakeRegistry } from "../fixtures/fake-registry.ts";
import { tarOf } from "../fixtures/tar-writer.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";

const MIB = 1 << 20;
const CHUNK_BYTES = 128 * 1024;

/** A registry whose blobs come slowly, until it is told to hurry. */
const registry = startFakeRegistry();
let chunkWaitMs = 40;
const fixture = useDaemon();
afterAll(() => registry[Symbol.asyncDispose]());

/** An image of a small layer and a large one that nothing compresses; answers the large one's digest. */
function addImage(name: string, bytes: number): string {
  const layer = (path: string, content: Buffer) => tarOf([{ name: path, content }]);
  const image = fakeImage([layer("small", Buffer.from("x")), layer("large", randomBytes(bytes))]);
  registry.add(name, image);
  registry.override = ({ path, headers }) => {
    const blob = registry.blobs.get(path.split("/").at(-1) ?? "");
    if (blob === undefined || blob.length < MIB) return undefined;
    const range = headers.get("range");
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    const head = { "content-range": `bytes ${start}-${blob.length - 1}/${blob.length}` };
    return new Response(slowly(blob, start), range === null ? {} : { status: 206, headers: head });
  };
  return image.layers[1]!.digest;
}

function slowly(blob: Uint8Array, start: number): ReadableStream<Uint8Array> {
  let offset = start;
  return new ReadableStream({
    async pull(controller) {
      await Bun.sleep(chunkWaitMs);
      if (offset < blob.length) controller.enqueue(blob.subarray(offset, offset + CHUNK_BYTES));
      offset += CHUNK_BYTES;
      if (offset >= blob.length) controller.close();
    },
  });
}

const partialBytes = () => {
  const dir = join(fixture.daemon.root, "lib/partial");
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
};
const rangesOf = (digest: string) =>
  registry.requests.filter(({ path }) => path.endsWith(digest)).map(({ headers }) => headers.get("range"));

test("a pull goes on where a killed daemon had come, and programs read how", async () => {
  const { daemon } = fixture;
  const digest = addImage("killed:v1", 12 * MIB);
  const reference = `${registry.host}/killed:v1`;
  const broken = daemon.podrt("pull", reference);
  await eventually("some of the layer has come", () => partialBytes() > 4 * MIB, 60_000);
  await daemon.kill();
  const { code, stderr } = await broken;
  expect([code, stderr]).toEqual([1, expect.stringMatching(/the daemon at \S+ went away; .*start it/)]);
  const kept = partialBytes();
  registry.requests.length = 0;
  await daemon.start();
  chunkWaitMs = 1;
  const pulled = await daemon.podrt("pull", "-o", "json", reference);
  expect(pulled).toMatchObject({ code: 0, stderr: "" });
  expect(rangesOf(digest)).toEqual([`bytes=${kept}-`]);
  const lines = pulled.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.at(-1)).toMatchObject({ image: { reference } });
  const last = lines.at(-2);
  expect(last.phase).toBe("done");
  expect(last.layers[1]).toMatchObject({ digest, state: "done", keptBytes: kept });
  expect(readdirSync(join(daemon.root, "lib/partial"))).toEqual([]);
});

test("a pull that is interrupted with Ctrl-C is gone on with, and says so in a pipe", async () => {
  const { daemon } = fixture;
  chunkWaitMs = 40;
  const reference = `${registry.host}/interrupted:v1`;
  const digest = addImage("interrupted:v1", 8 * MIB);
  const child = Bun.spawn([binary, "pull", "--root", daemon.root, reference], {
    stderr: "pipe",
    stdout: "pipe",
  });
  await eventually("some of the layer has come", () => partialBytes() > 2 * MIB, 60_000);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  await eventually("the pull has ended", async () => (await daemon.pods.listPulls({})).pulls.length === 0);
  registry.requests.length = 0;
  chunkWaitMs = 1;
  const { code, stderr } = await daemon.podrt("pull", reference);
  expect(code).toBe(0);
  expect(rangesOf(digest)).toEqual([expect.stringMatching(/^bytes=\d{7}-$/)]);
  expect(stderr).toMatch(/: layer \w{13}: downloaded, 8\.\d+MB, [\d.]+MB of it by an earlier pull\n/);
});

// A terminal is what tmux gives.
test.skipIf(!hasTmux)(
  "on a terminal layers are drawn with bytes, rate and time left, and go in the end",
  async () => {
    const { daemon } = fixture;
    chunkWaitMs = 200;
    addImage("shown:v1", 16 * MIB);
    const reference = `${registry.host}/shown:v1`;
    await using screen = await openTmux({ width: 100, height: 20 });
    await screen.type(`${binary} pull --root ${daemon.root} ${reference}`);
    const isDrawn = (rows: readonly string[]) =>
      rows.some((row) =>
        /^\S+shown:v1: \d\/2 layers, [\d.]+MB\/[\d.]+MB, [\d.]+[kM]B\/s, \w+ left$/.test(row),
      ) && rows.some((row) => /^ {2}\w{13} {2}\[=+> *\] +[\d.]+MB\/[\d.]+MB +[\d.]+[kM]B\/s +\w+$/.test(row));
    const rows = await screen.until("bytes, rate and time left of the image and of its layer", isDrawn);
    expect(rows.at(-2)).toMatch(/^ {2}\w{13} {2}(done|already here)$/);
    await screen.resize(50, 20);
    const narrow = await screen.until("no bar where there is no room for one", (shown) =>
      /^ {2}\w{13} +[\d.]+MB\/[\d.]+MB/.test(shown.at(-1) ?? ""),
    );
    expect(narrow.filter((row) => row.includes("layers, "))).toHaveLength(1);
    chunkWaitMs = 1;
    const done = await screen.until("the result and the prompt", (shown) => shown.at(-1) === "$");
    expect(done.filter((row) => !row.startsWith("$") && !row.includes(daemon.root))).toEqual([
      expect.stringMatching(/shown:v1 \w{13}$/),
    ]);
  },
);

// A terminal is what tmux gives.
test.skipIf(!hasTmux)("run shows how the images of a manifest's pods are pulled", async () => {
  const { daemon } = fixture;
  chunkWaitMs = 200;
  addImage("manifest:v1", 8 * MIB);
  const path = join(daemon.root, "slow.yaml");
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "slow" },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 1,
      containers: [
        { name: "said", image: "busybox", command: ["sh", "-c", "echo here; sleep 3600"] },
        { name: "slow", image: `${registry.host}/manifest:v1`, command: ["/none"] },
      ],
    },
  };
  writeFileSync(path, JSON.stringify(manifest));
  await using screen = await openTmux({ width: 100, height: 20 });
  await screen.type(`${binary} run --root ${daemon.root} ${path}`);
  const isBelow = (rows: readonly string[]) => {
    const head = rows.findIndex((row) => /manifest:v1: \d\/2 layers, .*left$/.test(row));
    const said = rows.findIndex((row) => row.startsWith("said | here"));
    return head > 0 && said >= 0 && said < head && head === rows.length - 3;
  };
  await screen.until("a container's words, and the pull of the other's image below", isBelow);
  chunkWaitMs = 1;
  await screen.until("nothing of the pull", (rows) => !rows.some((row) => row.includes("layers, ")));
  await screen.key("C-c");
  await screen.until("the prompt", (rows) => rows.at(-1)?.endsWith("$") === true);
});
