// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import type { ListReclaimableRequest, ReclaimRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";

const ROWS = [
  { kind: "images", count: 3, inUse: 1, bytes: 4_000_000n, reclaimableBytes: 1_000_000n },
  { kind: "containers", count: 2, inUse: 2, bytes: 4096n, reclaimableBytes: 0n, incomplete: true },
];

test("df shows each kind with what of it nobody needs", async () => {
  await using daemon = await startFakeDaemon({ pods: { diskUsage: () => ({ rows: ROWS }) } });
  const { exitCode, out, err } = await runCommand(daemon.socketPath, ["df"]);
  expect(exitCode).toBe(0);
  expect(out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["KIND", "COUNT", "IN USE", "SIZE", "RECLAIMABLE"],
    ["images", "3", "1", "4MB", "1MB (25%)"],
    ["containers", "2", "2", ">4.1kB", "-"],
    [""],
  ]);
  expect(err).toContain("what is marked > is larger");
  const json = await runCommand(daemon.socketPath, ["df", "-o", "json"]);
  expect(JSON.parse(json.out)).toEqual([
    {
      kind: "images",
      count: 3,
      inUse: 1,
      sizeBytes: 4_000_000,
      reclaimableBytes: 1_000_000,
      incomplete: false,
    },
    { kind: "containers", count: 2, inUse: 2, sizeBytes: 4096, reclaimableBytes: 0, incomplete: true },
  ]);
});

describe("gc", () => {
  const items = [
    { kind: "image", id: "sha256:aa", name: "docker.io/library/old:1", bytes: 5_000_000n },
    { kind: "image", id: "sha256:bb", name: "sha256:bbbbbbbbbbbbbbbbbbbb", bytes: 1_000_000n },
  ];

  async function startDisk(found: readonly (typeof items)[number][] = items, stays = "", youngImages = 0) {
    const asked: ListReclaimableRequest[] = [];
    const ages: bigint[] = [];
    const removed: string[] = [];
    const daemon = await startFakeDaemon({
      pods: {
        listReclaimable: (request) => {
          asked.push(request);
          return { items: [...found], youngImages };
        },
        async *reclaim(request: ReclaimRequest) {
          ages.push(request.minAgeMs);
          for (const item of request.items) {
            if (item.id !== stays) removed.push(item.id);
            yield { item, error: item.id === stays ? "it is in use by now" : "" };
          }
        },
      },
    });
    return Object.assign(daemon, { asked, removed, ages });
  }

  const typing = (text: string) => ({
    terminal: { size: () => undefined, onResize: () => () => {}, setRaw: () => {} },
    stdin: (async function* () {
      yield new TextEncoder().encode(text);
    })(),
  });

  test("shows what would go and removes nothing with --dry-run", async () => {
    await using daemon = await startDisk();
    const { exitCode, out, err } = await runCommand(daemon.socketPath, ["gc", "--dry-run", "--pods"]);
    expect({ exitCode, removed: daemon.removed }).toEqual({ exitCode: 0, removed: [] });
    expect(out).toContain("image   docker.io/library/old:1   5MB");
    expect(out).toContain("image   bbbbbbbbbbbbb ");
    expect(err).toBe("6MB would be freed\n");
    expect(daemon.asked[0]).toMatchObject({ pods: true, volumes: false });
    const json = await runCommand(daemon.socketPath, ["gc", "--dry-run", "-o", "json", "--volumes"]);
    expect(JSON.parse(json.out)[0]).toEqual({
      kind: "image",
      id: "sha256:aa",
      name: "docker.io/library/old:1",
      freedBytes: 5_000_000,
    });
    expect(json.err).toBe("");
    expect(daemon.asked[1]).toMatchObject({ pods: false, volumes: true });
  });

  test("asks whoever sits at a terminal, and does nothing without a yes", async () => {
    await using daemon = await startDisk();
    const no = await runCommand(daemon.socketPath, ["gc"], typing("n\n"));
    expect(no.err).toContain("Remove these? It frees 6MB. [y/N] nothing was removed\n");
    expect({ code: no.exitCode, removed: daemon.removed }).toEqual({ code: 1, removed: [] });
    const yes = await runCommand(daemon.socketPath, ["gc"], typing("y\n"));
    expect(yes.exitCode).toBe(0);
    expect(daemon.removed).toEqual(["sha256:aa", "sha256:bb"]);
  });

  test("asks nobody where nobody is, and with --yes", async () => {
    await using daemon = await startDisk();
    const silent = await runCommand(daemon.socketPath, ["gc"]);
    expect(silent.exitCode).toBe(2);
    expect(silent.err).toContain("add --yes, or --dry-run");
    expect(daemon.asked).toEqual([]);
    const { exitCode, out, err } = await runCommand(daemon.socketPath, ["gc", "--yes"]);
    expect(exitCode).toBe(0);
    expect(out).toBe("image docker.io/library/old:1 5MB\nimage bbbbbbbbbbbbb 1MB\n");
    expect(err).toBe("freed 6MB\n");
  });

  test("leaves young images to who has pulled them, two minutes long or as long as it is told", async () => {
    await using daemon = await startDisk([], "", 2);
    const { err } = await runCommand(daemon.socketPath, ["gc", "-y"]);
    expect(err).toBe(
      "2 images that nobody uses stay, since they were pulled or asked for just now; --min-age 0 takes such too\nnothing else is there to go\n",
    );
    await using full = await startDisk();
    for (const words of [[], ["--min-age", "0"], ["--min-age", "1h30m"]]) {
      expect((await runCommand(full.socketPath, ["gc", "-y", ...words])).exitCode).toBe(0);
    }
    const ages = [120_000n, 0n, 5_400_000n];
    expect([full.asked.map(({ minAgeMs }) => minAgeMs), full.ages]).toEqual([ages, ages]);
    const wrong = await runCommand(full.socketPath, ["gc", "-y", "--min-age", "5"]);
    expect(wrong.err).toContain("expected 0 or a duration of at most 1000 days, as in 90s, 2m or 1d");
  });

  test("goes on after what stays, says why, and fails", async () => {
    await using daemon = await startDisk(items, "sha256:aa");
    const { exitCode, err } = await runCommand(daemon.socketPath, ["gc", "-y"]);
    expect(exitCode).toBe(1);
    expect(err).toBe("podrt: image docker.io/library/old:1 stays: it is in use by now\nfreed 1MB\n");
    expect(daemon.removed).toEqual(["sha256:bb"]);
  });

  test("says so where there is nothing", async () => {
    await using daemon = await startDisk([]);
    const { exitCode, err } = await runCommand(daemon.socketPath, ["gc", "-y"]);
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "there is nothing that nobody needs\n" });
  });
});
