// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { CLEAR_SCREEN } from "../control-sequences.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate } from "../fake-pods.ts";
import { measured } from "../fake-usage.ts";

async function daemonWithUsage() {
  const daemon = await startFakeDaemon({ runtime: measured() ?? {} });
  populate(daemon);
  return daemon;
}

test("pods and their containers are one table, by what they have used between two looks", async () => {
  await using daemon = await daemonWithUsage();
  const { out } = await runCommand(daemon.socketPath, ["stats"]);
  expect(out.split("\n")).toEqual([
    "NAME                     CPU %   MEMORY   LIMIT    MEM %   PIDS   NET IN / OUT   BLOCK READ / WRITTEN   RESTARTS",
    "demo                     60.0    16MiB    128MiB   12.5    4      40kB / 5B      1.5kB / 8kB            2",
    "demo/app1                50.0    16MiB    64MiB    25.0    3      -              1.5kB / 8kB            2",
    "kube-system/other        60.0    16MiB    -        -       4      40kB / 5B      1.5kB / 8kB            0",
    "kube-system/other/etcd   0.0     16MiB    -        -       3      -              1.5kB / 8kB            0",
    "",
  ]);
});

test("as JSON they have plain numbers, and names choose", async () => {
  await using daemon = await daemonWithUsage();
  const { out } = await runCommand(daemon.socketPath, ["stats", "demo/app1", "-o", "json"]);
  expect(JSON.parse(out)).toEqual([
    {
      pod: "demo",
      container: "app1",
      id: id("b"),
      state: "Running",
      restarts: 2,
      cpuPercent: 50,
      memoryBytes: 16_777_216,
      memoryLimitBytes: 67_108_864,
      memoryPercent: 25,
      processes: 3,
      read: 1500,
      written: 8000,
      readRate: 0,
      writtenRate: 2000,
      received: null,
      sent: null,
      receivedRate: null,
      sentRate: null,
    },
  ]);
  const pod = JSON.parse(
    (await runCommand(daemon.socketPath, ["stats", "demo", "-o", "json"])).out,
  ) as object[];
  expect(pod).toMatchObject([{ pod: "demo", container: null, receivedRate: 10_000 }, { container: "app1" }]);
});

test("are printed in every format of lists", async () => {
  await using daemon = await daemonWithUsage();
  const of = async (output: string) =>
    (await runCommand(daemon.socketPath, ["stats", "demo", "-o", output])).out;
  expect(await of("name")).toBe("demo\ndemo/app1\n");
  expect(await of("template={.container} {.memoryPercent}")).toBe(" 12.5\napp1 25\n");
  expect(await of("wide")).toMatch(/NET IN\/s \/ OUT\/s.*\n.* 10kB \/ 0B /);
});

test("a table that is watched keeps to the width of its terminal, also when that changes", async () => {
  await using daemon = await daemonWithUsage();
  const stop = new AbortController();
  const size = { width: 80, height: 24 };
  let resized = () => {};
  const onResize = (listener: () => void) => {
    resized = listener;
    return () => (resized = () => {});
  };
  const pictures: string[] = [];
  const { exitCode } = await runCommand(daemon.socketPath, ["stats", "-w", "--interval=1h"], {
    interrupted: stop.signal,
    terminal: { size: () => size, onResize, setRaw: () => {} },
    onOut(text) {
      pictures.push(text.slice(CLEAR_SCREEN.length));
      if (pictures.length === 2) return stop.abort();
      size.width = 40;
      // At once, not at the next look.
      resized();
    },
  });
  expect(exitCode).toBe(0);
  expect(pictures.map((text) => text.split("\n").slice(0, 3))).toEqual([
    [
      "NAME                     CPU %   MEMORY   LIMIT    MEM %   PIDS   NET IN / OUT",
      "demo                     60.0    16MiB    128MiB   12.5    4      40kB / 5B",
      "demo/app1                50.0    16MiB    64MiB    25.0    3      -",
    ],
    [
      "NAME                     CPU %   MEMORY",
      "demo                     60.0    16MiB",
      "demo/app1                50.0    16MiB",
    ],
  ]);
});

test("are not done where they are interrupted before they are shown once", async () => {
  await using daemon = await daemonWithUsage();
  const { exitCode, err } = await runCommand(daemon.socketPath, ["stats"], {
    interrupted: AbortSignal.abort(),
  });
  expect([exitCode, err]).toEqual([130, ""]);
});

test("what does not run, or is not there, is named", async () => {
  await using daemon = await daemonWithUsage();
  const idle = await runCommand(daemon.socketPath, ["stats", id("d").slice(0, 12)]);
  expect([idle.exitCode, idle.err]).toEqual([
    1,
    expect.stringContaining("does not run, so there is nothing"),
  ]);
  expect((await runCommand(daemon.socketPath, ["stats", "nobody"])).err).toContain(
    "there is no pod or container nobody",
  );
  expect((await runCommand(daemon.socketPath, ["stats", "--interval", "1ms"])).exitCode).toBe(2);
});

test("are watched until Ctrl-C: again on a screen that is cleared, or below each other, or a line of JSON each", async () => {
  await using daemon = await daemonWithUsage();
  const watch = async (args: string[], isTerminal = false) => {
    const stop = new AbortController();
    let count = 0;
    const onOut = (text: string) => {
      if (text.includes("demo") && ++count === 2) stop.abort();
    };
    const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    const { exitCode, out } = await runCommand(
      daemon.socketPath,
      ["stats", "-w", "--interval=200ms", ...args],
      {
        interrupted: stop.signal,
        onOut,
        ...(isTerminal ? { terminal } : {}),
      },
    );
    expect(exitCode).toBe(0);
    return out;
  };
  expect((await watch([], true)).split("\u001b[H\u001b[2J")).toHaveLength(3);
  const below = await watch([]);
  expect(below).not.toContain("\u001b");
  expect(below.match(/^NAME/gm)).toHaveLength(2);
  const lines = (await watch(["-o", "json"])).trimEnd().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as object[]).length)).toEqual([4, 4]);
});
