// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";

const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 20\nrestart_backoff_max_ms = 50\n" });
const podrt = (...words: string[]) => fixture.daemon.podrt("run", ...words);

test("a command's output and exit code are the run's, and --rm leaves nothing", async () => {
  const ran = await podrt("--rm", "-e", "A=x", "busybox", "sh", "-c", 'echo "$A $$"; echo err >&2; exit 7');
  expect(ran).toMatchObject({ code: 7, stdout: "x 1\n" });
  // What comes before is the pull.
  expect(ran.stderr).toEndWith("err\n");
  expect((await fixture.daemon.pods.listPods({})).pods).toEqual([]);
  expect(await fixture.daemon.leftovers()).toEqual([]);
});

test("without --rm the pod stays listed under its name, with its log", async () => {
  expect(await podrt("--name", "once", "busybox", "echo", "said")).toMatchObject({
    code: 0,
    stdout: "said\n",
  });
  expect((await fixture.daemon.podrt("logs", "once")).stdout).toContain("said");
  expect((await fixture.daemon.podrt("rm", "once")).code).toBe(0);
});

test("standard input reaches the command, and its end does", async () => {
  const ran = await fixture.daemon.podrtWith(
    { stdin: "one\ntwo\n" },
    "run",
    "--rm",
    "-i",
    "busybox",
    "wc",
    "-l",
  );
  expect(ran).toMatchObject({ code: 0, stdout: "2\n" });
});

test("paths, claims, users and limits are as the options say", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-volume-"));
  try {
    const script =
      "id -u; id -g; pwd; echo x > /host/file; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; touch /no 2>/dev/null || echo read-only";
    const chmod = await podrt("--rm", "-v", `${directory}:/host`, "busybox", "chmod", "777", "/host");
    expect(chmod.code).toBe(0);
    const options = [
      "--rm",
      "--read-only",
      "-u",
      "1000:2000",
      "-w",
      "/tmp",
      "-m",
      "64m",
      "-v",
      `${directory}:/host`,
    ];
    const ran = await podrt(...options, "busybox", "sh", "-c", script);
    expect(ran).toMatchObject({ code: 0, stdout: "1000\n2000\n/tmp\n67108864\nread-only\n" });
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("x\n");
    expect((await podrt("--rm", "-v", "kept:/data", "busybox", "sh", "-c", "echo y > /data/z")).code).toBe(0);
    expect((await podrt("--rm", "-v", "kept:/data:ro", "busybox", "cat", "/data/z")).stdout).toBe("y\n");
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a port is published, and another container joins the pod's network, processes and log", async () => {
  const { daemon } = fixture;
  const port = await freePort();
  const detached = await podrt("-d", "--name", "web", "-p", `127.0.0.1:${port}:80`, "nginx");
  expect(detached).toMatchObject({ code: 0, stdout: "web\n" });
  await runningPod(daemon, "web");
  await eventually("the page is served", async () => (await fetch(`http://127.0.0.1:${port}/`)).ok);
  const joined = await podrt("--rm", "--pod", "web", "busybox", "wget", "-qO-", "http://127.0.0.1/");
  expect(joined.code).toBe(0);
  expect(joined.stdout).toContain("<html");
  const byPause = await podrt("--rm", "--net", "container:POD-web", "busybox", "hostname");
  expect(byPause).toMatchObject({ code: 0, stdout: "web\n" });
  const seen = await podrt(
    "--rm",
    "--pod",
    "web",
    "--target",
    "nginx",
    "busybox",
    "sh",
    "-c",
    "cat /proc/1/comm",
  );
  expect(seen).toMatchObject({ code: 0, stdout: "nginx\n" });
  const masked = await podrt(
    "--rm",
    "--pod",
    "web",
    "busybox",
    "sh",
    "-c",
    "grep Seccomp: /proc/self/status; ls /sys/firmware | wc -l",
  );
  expect(masked.stdout).toBe("Seccomp:\t2\n0\n");
  const refused = await podrt("--pod", "web", "-p", "1:1", "busybox");
  expect(refused).toMatchObject({
    code: 2,
    stderr: "podrt: --publish has no place in a pod that is there\n",
  });
  expect((await podrt("--pod", "none", "busybox")).stderr).toContain("there is no pod or container none");
  const { containers } = await daemon.api.listContainers({});
  expect(containers.map(({ metadata }) => metadata?.name)).toEqual(["nginx"]);
  expect((await daemon.podrt("rm", "-f", "web")).code).toBe(0);
});

test("what cannot be run says so, and options after a manifest are options", async () => {
  const missing = await podrt("--pull", "never", "no/such:1", "true");
  expect(missing.code).toBe(1);
  expect(missing.stderr).toBe("podrt: image no/such:1 is not present; pull it first\n");
  const late = await podrt("nothing.yaml", "--frobnicate");
  expect(late.code).toBe(2);
  expect(late.stderr).toContain("unknown option '--frobnicate'");
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
