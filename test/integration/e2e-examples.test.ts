// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectDir } from "../fixtures/images/packages.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, keptPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";

/*
 * The manifests of examples/ as they are there; demo-pod, shared-namespace-demo, init-containers, probes and hooks have
 * tests beside what they show.
 */

const fixture = useDaemon();
const example = (name: string) => join(projectDir, "examples", `${name}.yaml`);
const WAIT_MS = 60_000;
const MINUTE_MS = 60_000;

test("the cron job is kept; its pod is looked at last, when a minute has passed", async () => {
  const { code, stdout } = await fixture.daemon.podrt("apply", example("cron-job"));
  expect([code, stdout]).toEqual([0, "cronjob hello created\n"]);
});

test("the web server shows what its sidecar writes", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, example("web-sidecar"));
  const pod = await runningPod(daemon, "web-0", WAIT_MS);
  const first = await pageOf(pod);
  expect(first).toMatch(/^\w+ \w+ +\d+ \d+:\d+:\d+ UTC \d+\n$/);
  await eventually("the time goes on", async () => (await pageOf(pod)) !== first, WAIT_MS);
  expect((await daemon.podrt("down", example("web-sidecar"))).stdout).toBe("web-0\n");
});

test("the database asks for the password, and its data outlives the pod", async () => {
  const { daemon } = fixture;
  const rows = async (password: string) => {
    const pod = await runningPod(daemon, "database-0", WAIT_MS);
    const authorization = `Basic ${btoa(`app:${password}`)}`;
    return eventually(
      "the database answers",
      async () => {
        const signal = AbortSignal.timeout(5000);
        const url = `http://${pod.addresses[0]}:5432/rows`;
        const answer = await fetch(url, { headers: { authorization }, signal });
        return { status: answer.status, text: await answer.text() };
      },
      WAIT_MS,
    );
  };
  await runDetached(daemon, example("database"));
  expect(await rows("wrong")).toMatchObject({ status: 401 });
  const before = await rows("correct-horse");
  expect(before).toEqual({ status: 200, text: expect.stringMatching(/^made by [0-9a-f-]{36}\n$/) });
  expect((await daemon.podrt("down", example("database"))).code).toBe(0);
  await runDetached(daemon, example("database"));
  expect(await rows("correct-horse")).toEqual(before);
  expect((await daemon.podrt("down", example("database"))).code).toBe(0);
  expect((await daemon.podrt("volume", "rm", "database")).code).toBe(0);
});

test("the visitor finds the web servers by the name of their Service", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, example("names"));
  await eventually(
    "the visitor has succeeded",
    async () => (await keptPod(daemon, "visitor")).phase === "Succeeded",
    WAIT_MS,
  );
  expect((await daemon.podrt("logs", "visitor")).stdout).toContain("Welcome to nginx!");
  expect((await daemon.podrt("down", example("names"))).stdout.split("\n").toSorted()).toEqual([
    "",
    "site-0",
    "site-1",
    "visitor",
  ]);
});

test("the job prints pi", async () => {
  const { code, stdout } = await fixture.daemon.podrt("run", example("job"));
  expect(stdout).toContain("3.141592653589793238462643383279");
  expect(code).toBe(0);
});

test("a changed ConfigMap reaches nginx by a signal, without a restart", async () => {
  const { daemon } = fixture;
  const text = readFileSync(example("config-reload"), "utf8");
  expect((await daemon.podrt("apply", example("config-reload"))).stdout).toBe("config-reload created\n");
  const before = await runningPod(daemon, "config-reload", WAIT_MS);
  expect(await pageOf(before)).toBe("first\n");
  const applied = await daemon.podrtWith({ stdin: text.replace("first", "second") }, "apply", "-");
  expect(applied.stdout).toBe("config-reload updated\n");
  await eventually("nginx answers otherwise", async () => (await pageOf(before)) === "second\n", WAIT_MS);
  const ids = ({ containers }: typeof before) => containers.map(({ containerId }) => containerId);
  expect(ids(await keptPod(daemon, "config-reload"))).toEqual(ids(before));
});

test("the host's port answers", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, example("host-port"));
  await runningPod(daemon, "host-port", WAIT_MS);
  const page = async () => {
    const options = { signal: AbortSignal.timeout(5000), keepalive: false };
    return (await fetch("http://127.0.0.1:30080/", options)).text();
  };
  expect(await eventually("the port answers", page, WAIT_MS)).toContain("Welcome to nginx!");
});

test("the debug session needs its capability allowed, and then reads another container's files", async () => {
  const { daemon } = fixture;
  const refused = await daemon.podrt("run", "--detach", example("debug-session"));
  expect(refused.stderr).toContain("needs --allow-cap=SYS_PTRACE");
  expect(refused.code).toBe(1);
  const allowed = await daemon.podrt("run", "--detach", "--allow-cap=SYS_PTRACE", example("debug-session"));
  expect(allowed).toMatchObject({ code: 0 });
  await runningPod(daemon, "debug-session", WAIT_MS);
  const look =
    "cd $(dirname $(grep -lx nginx /proc/[0-9]*/comm | head -1))/root && cat usr/share/nginx/html/index.html";
  const { stdout } = await daemon.podrt("exec", "debug-session/shell", "--", "sh", "-c", look);
  expect(stdout).toContain("Welcome to nginx!");
});

test("the worker is killed at its limit, its neighbour goes on, and why says so", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, example("memory-limit"));
  const pod = await eventually(
    "the worker was killed",
    async () => {
      const now = await keptPod(daemon, "memory-limit");
      const running = containerOf(now, "neighbour").state === "running";
      return running && containerOf(now, "worker").reason === "OOMKilled" ? now : undefined;
    },
    WAIT_MS,
  );
  expect(containerOf(pod, "worker")).toMatchObject({ reason: "OOMKilled", exitCode: 137 });
  const { stdout } = await daemon.podrt("why", "memory-limit/worker");
  expect(stdout).toContain("memory limit of 24 MiB");
});

test(
  "the cron job's pod has greeted",
  async () => {
    const { daemon } = fixture;
    const name = await eventually(
      "a pod of the cron job has succeeded",
      async () => {
        const { pods } = await daemon.pods.listPods({});
        const isOurs = /^hello-\d+$/;
        return pods.find((pod) => isOurs.test(pod.name?.name ?? "") && pod.phase === "Succeeded")?.name?.name;
      },
      WAIT_MS + MINUTE_MS,
    );
    expect((await daemon.podrt("logs", name)).stdout).toContain("hello from a cron job");
    expect((await daemon.podrt("down", example("cron-job"))).stdout).toContain("cronjob hello\n");
  },
  2 * (WAIT_MS + MINUTE_MS) * patience,
);
