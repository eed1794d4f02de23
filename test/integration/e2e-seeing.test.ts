// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";

const fixture = useDaemon({
  config: "[pods]\nrestart_backoff_ms = 600000\nrestart_backoff_max_ms = 600000\n",
});

/** Runs a pod of these containers, in flow style. */
async function start(
  name: string,
  containers: string,
  more = "terminationGracePeriodSeconds: 0",
): Promise<void> {
  const stdin = `{apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {${more}, containers: [${containers}]}}\n`;
  expect(await fixture.daemon.podrtWith({ stdin }, "run", "--detach", "-")).toMatchObject({ code: 0 });
}

const shell = (name: string, script: string, more = "") =>
  `{name: ${name}, image: busybox, command: [sh, -c, ${JSON.stringify(script)}]${more}}`;

async function output(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await fixture.daemon.podrt(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

test("logs of a pod are in the order of their times, from a time on, and of those before a restart", async () => {
  const { daemon } = fixture;
  // Each line is asked for when the one before is in its log, so that their order is known.
  const mount = ", volumeMounts: [{name: turn, mountPath: /turn}]";
  const said = (name: string) =>
    `n=1; while :; do while [ ! -e /turn/${name}$n ]; do sleep 0.05; done; echo ${name} $n; n=$((n + 1)); done`;
  const crash =
    "if [ -e /turn/crashed ]; then echo second; sleep 3600; fi; touch /turn/crashed; echo first; exit 1";
  await start(
    "talk",
    [
      shell("ping", said("ping"), mount),
      shell("pong", said("pong"), mount),
      shell("crash", crash, mount),
    ].join(", "),
    "terminationGracePeriodSeconds: 0, volumes: [{name: turn, emptyDir: {}}]",
  );
  await eventually("one was started again", async () => (await output("logs", "talk/crash")) === "second\n");
  const wanted: string[] = [];
  for (const line of ["ping 1", "pong 1", "ping 2", "pong 2", "ping 3"]) {
    const name = line.slice(0, 4);
    expect(
      (await daemon.podrt("exec", "talk/ping", "--", "touch", `/turn/${line.replace(" ", "")}`)).code,
    ).toBe(0);
    await eventually(`${line} is in its log`, async () =>
      (await output("logs", `talk/${name}`)).includes(line),
    );
    wanted.push(`${name}  | ${line}`);
  }
  const lines = (await output("logs", "talk")).split("\n").filter((line) => line.startsWith("p"));
  expect(lines).toEqual(wanted);
  expect(await output("logs", "-p", "talk/crash")).toBe("first\n");
  expect(await output("logs", "-p", "talk")).toBe("crash | first\n");
  const timed = (await output("logs", "--timestamps", "talk")).trimEnd().split("\n");
  const second = /\S+Z(?= ping 2)/.exec(timed.find((line) => line.endsWith("ping 2"))!)![0];
  const later = (await output("logs", "--since", second, "talk")).trimEnd().split("\n");
  // The time of `--since` has milliseconds.
  expect(later.slice(-3)).toEqual(wanted.slice(-3));
  expect(later).not.toContain(wanted[0]);
  expect(await output("logs", "--since", "1ms", "talk/ping")).toBe("");
  // Followed across a restart of the daemon, until the pod is gone.
  const following = Bun.spawn([binary, "logs", "--root", daemon.root, "-f", "--tail", "1", "talk/ping"], {
    stdout: "pipe",
  });
  const reader = following.stdout.getReader();
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("ping 3\n");
  await daemon.kill();
  await daemon.start();
  expect((await daemon.podrt("exec", "talk/ping", "--", "touch", "/turn/ping4")).code).toBe(0);
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("ping 4\n");
  expect((await daemon.podrt("rm", "-f", "talk")).code).toBe(0);
  expect((await reader.read()).done).toBe(true);
  expect(await following.exited).toBe(0);
});

interface Told {
  readonly kind: string;
  readonly type: string;
  readonly pod: string;
  readonly container: string;
  readonly image: string;
  readonly reason: string;
  readonly message: string;
  readonly exitCode: number | null;
}

test("events tell of pods, containers and images, also across a restart of the daemon", async () => {
  const { daemon } = fixture;
  const child = Bun.spawn([binary, "events", "--root", daemon.root, "--since", "0s", "-o", "json"], {
    stdout: "pipe",
  });
  let text = "";
  const reading = (async () => {
    for await (const chunk of child.stdout) text += Buffer.from(chunk).toString();
  })();
  const told = () =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Told);
  const short = ({ kind, type, container, reason }: Told) =>
    [kind, type, container, reason].filter((word) => word !== "").join(" ");
  try {
    expect((await daemon.podrt("pull", "busybox")).code).toBe(0);
    await start(
      "eventful",
      [
        shell("dies", "exit 3"),
        "{name: nowhere, image: 'localhost:1/x:1'}",
        shell("stays", "sleep 3600"),
      ].join(", "),
    );
    await eventually("the second end is told, and what cannot be pulled", () => {
      const seen = told().map(short);
      return (
        seen.includes("container waiting dies CrashLoopBackOff") &&
        seen.includes("container trouble nowhere ErrImagePull")
      );
    });
    await daemon.kill();
    await daemon.start();
    expect((await daemon.podrt("rm", "-f", "eventful")).code).toBe(0);
    await eventually("the removal is told", () =>
      told().some(({ kind, type }) => kind === "pod" && type === "deleted"),
    );
  } finally {
    child.kill("SIGINT");
  }
  await reading;
  expect(await child.exited).toBe(0);
  const events = told();
  expect(events.find(({ kind }) => kind === "image")).toMatchObject({
    type: "pulled",
    image: expect.stringContaining("busybox"),
  });
  expect(events.find(({ kind, type }) => kind === "image" && type === "failed")).toMatchObject({
    image: "localhost:1/x:1",
  });
  const own = events.filter(({ kind }) => kind !== "image");
  expect(new Set(own.map(({ pod }) => pod))).toEqual(new Set(["eventful"]));
  const of = (name: string) => own.filter(({ container }) => container === name).map(short);
  expect(of("").slice(0, 2)).toEqual(["pod created", "pod started"]);
  expect(of("").slice(-2)).toEqual(["pod stopped", "pod deleted"]);
  const life = ["created", "started", "stopped"].map((type) => `container ${type} dies`);
  expect(
    of("dies")
      .slice(0, 7)
      .map((line) => line.replace(" Error", "")),
  ).toEqual([...life, ...life, "container waiting dies CrashLoopBackOff"]);
  expect(own.find(({ container, type }) => container === "dies" && type === "stopped")).toMatchObject({
    exitCode: 3,
    reason: "Error",
  });
  expect(of("stays")).toEqual([
    "container created stays",
    "container started stays",
    "container stopped stays Error",
    "container deleted stays",
  ]);
  // A new daemon has only its own to remember.
  const remembered = await output("events", "--no-follow", "eventful/stays");
  expect(remembered).toMatch(
    /container {2}stopped {4}eventful\/stays {2}Error, exit code 137\n[^\n]*container {2}deleted {4}eventful\/stays\n$/,
  );
});

interface Used {
  readonly pod: string;
  readonly container: string | null;
  readonly cpuPercent: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number | null;
  readonly memoryPercent: number | null;
  readonly processes: number;
  readonly received: number | null;
  readonly read: number | null;
}

const LIMITED = ", resources: {limits: {memory: 64Mi}}";

test("stats tell who is busy, and what of a limit is used", async () => {
  await start(
    "usage",
    [shell("busy", "while :; do :; done", LIMITED), shell("idle", "sleep 3600 & sleep 3600")].join(", "),
  );
  await runningPod(fixture.daemon, "usage");
  const [pod, busy, idle] = await eventually("the busy one is busy", async () => {
    const used = JSON.parse(await output("stats", "-o", "json", "usage")) as Used[];
    expect(used.map(({ container }) => container)).toEqual([null, "busy", "idle"]);
    expect(used[1]!.cpuPercent).toBeGreaterThan(3);
    expect(used[2]!.processes).toBe(2);
    return used;
  });
  expect(pod!.cpuPercent).toBeGreaterThan(3);
  expect(idle!.cpuPercent).toBeLessThan(busy!.cpuPercent);
  expect(busy).toMatchObject({ memoryLimitBytes: 64 * 1024 * 1024, processes: 1, received: null });
  expect(idle).toMatchObject({ memoryLimitBytes: null, memoryPercent: null });
  expect(busy!.memoryBytes).toBeGreaterThan(0);
  expect(busy!.memoryPercent!).toBeLessThan(100);
  expect(pod!.received!).toBeGreaterThanOrEqual(0);
  const table = await output("stats", "usage/busy");
  expect(table).toMatch(/^NAME +CPU % +MEMORY .*\nusage\/busy +\d+\.\d +\S+ +64MiB /);
  expect(await output("top")).toMatch(/^NAME .*CPU%\*.*\nusage +Running .*\n {2}busy +Running/);
  await fixture.daemon.podrt("rm", "-f", "usage");
});

// Needs tmux, to be a person at a terminal.
test.skipIf(!hasTmux)(
  "top fills the terminal, obeys its keys and size, and leaves it as it was however it ends",
  async () => {
    const { daemon } = fixture;
    await start(
      "shown",
      [shell("busy", "while :; do :; done", LIMITED), shell("idle", "sleep 3600")].join(", "),
    );
    await runningPod(daemon, "shown");
    await using screen = await openTmux({ width: 110, height: 12 });
    const has =
      (...texts: RegExp[]) =>
      (rows: readonly string[]) =>
        texts.every((text) => rows.some((row) => text.test(row)));
    const isBack = (rows: readonly string[]) =>
      rows.some((row) => row === "what was before") && rows.at(-1) === "$" && !has(/^podrt top/)(rows);
    const open = async () => {
      await screen.type("clear; echo what was before");
      await screen.until("an empty screen", (rows) => rows.join() === "what was before,$");
      await screen.type(`${binary} top --root ${daemon.root} --interval 300ms`);
      await screen.until("the busy container above the idle one, with what it uses", (rows) => {
        const busy = rows.findIndex((row) =>
          /^ {2}busy +Running +\d+\.\d +\S+ +64MiB +\d+\.\d +1 /.test(row),
        );
        return busy > 1 && rows.findIndex((row) => /^ {2}idle +Running/.test(row)) > busy;
      });
    };
    await open();
    const rows = await screen.rows();
    expect(rows[0]).toMatch(/^podrt top {2}\d\d:\d\d:\d\d {2}pods 1, containers running 2, CPU /);
    expect(rows[1]).toMatch(/^NAME +STATE +CPU%\* +MEMORY +LIMIT/);
    expect(rows.at(-1)).toStartWith("q quit  c cpu");
    expect(rows).toHaveLength(12);
    await screen.key("n");
    await screen.until("another order", has(/^NAME\* +STATE +CPU% /));
    await screen.key("t");
    await screen.until("pods alone", (shown) => has(/^shown /)(shown) && !has(/^ {2}busy/)(shown));
    await screen.key("t");
    await screen.resize(40, 5);
    await screen.until(
      "two of three rows in few columns",
      (shown) => has(/^1-2 of 3.{31}~$/)(shown) && !has(/LIMIT/)(shown),
    );
    await screen.key("Down");
    await screen.until("the two after those", has(/^2-3 of 3/, /^ {2}idle/));
    await screen.resize(110, 12);
    await screen.key("q");
    await screen.until("what was before", isBack);
    await screen.type("echo code $? $(stty -a | grep -o ' echo ')");
    await screen.until("its exit code, and a terminal that echoes", has(/^(?:\$ )?code 0 echo$/));

    await open();
    await screen.key("C-z");
    await screen.until("the shell, while top is stopped", has(/Stopped/));
    await screen.type("fg");
    await screen.until("top again", has(/^podrt top/, /^ {2}busy/));
    await screen.key("C-c");
    await screen.until("the shell again", isBack);
    await screen.type("echo code $?");
    await screen.until("that this is its end, too", has(/^(?:\$ )?code 0$/));

    for (const signal of ["TERM", "HUP", "QUIT"]) {
      await open();
      const pid = await topOf(daemon.root);
      process.kill(pid, `SIG${signal}`);
      await screen.until(`what was before, after SIG${signal}`, isBack);
      await screen.type("echo code $? $(stty -a | grep -o ' echo ')");
      await screen.until("its exit code, and a terminal that echoes", has(/^(?:\$ )?code 0 echo$/));
    }
    await daemon.podrt("rm", "-f", "shown");
  },
);

/** The process of the `podrt top` that speaks to the instance below `root`. */
async function topOf(root: string): Promise<number> {
  return eventually("top has a process", async () => {
    for await (const name of new Bun.Glob("[0-9]*/cmdline").scan({ cwd: "/proc", onlyFiles: false })) {
      const argv = await Bun.file(`/proc/${name}`)
        .text()
        .catch(() => "");
      if (argv.includes(`\0top\0--root\0${root}\0`)) return Number(name.split("/")[0]);
    }
    return undefined;
  });
}

test("wait ends when a pod or container has come to something, or cannot any more, or in time", async () => {
  const { daemon } = fixture;
  const probe = ", readinessProbe: {periodSeconds: 1, exec: {command: [test, -e, /tmp/ready]}}";
  await start(
    "awaited",
    [
      shell("late", "sleep 3600", probe),
      shell("job", "while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 4"),
    ].join(", "),
    "restartPolicy: Never, terminationGracePeriodSeconds: 0",
  );
  expect(await output("wait", "--for", "running", "awaited")).toBe("");
  const early = await daemon.podrt("wait", "--for", "ready", "--timeout", "100ms", "awaited/late");
  expect(early).toMatchObject({
    code: 124,
    stderr: expect.stringContaining("has not come to ready within 0.1 s"),
  });
  const ready = daemon.podrt("wait", "--for", "ready", "awaited");
  expect((await daemon.podrt("exec", "awaited/late", "--", "touch", "/tmp/ready")).code).toBe(0);
  expect(await ready).toEqual({ code: 0, stdout: "", stderr: "" });
  const ended = daemon.podrt("wait", "awaited/job");
  expect((await daemon.podrt("exec", "awaited/job", "--", "touch", "/tmp/go")).code).toBe(0);
  expect(await ended).toEqual({ code: 0, stdout: "4\n", stderr: "" });
  const never = await daemon.podrt("wait", "--for", "running", "awaited");
  expect(never).toMatchObject({ code: 3, stderr: expect.stringContaining("container job Error") });
  const pod = daemon.podrt("wait", "awaited");
  expect((await daemon.podrt("stop", "-t", "0", "awaited")).code).toBe(0);
  expect(await pod).toEqual({ code: 0, stdout: "late 137\njob 4\n", stderr: "" });
  expect((await daemon.podrt("wait", "nobody")).code).toBe(1);
  await daemon.podrt("rm", "awaited");
});
