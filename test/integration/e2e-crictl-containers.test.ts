// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { transports } from "../fixtures/session-client.ts";
import { crictlFiles, inBothForms, RunningCrictl, tableOf } from "./harness/crictl.ts";
import { criu, criuConfig } from "./harness/criu.ts";
import { hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerPid } from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";

const fixture = useDaemon({ config: criuConfig });
const crictl = (...args: readonly string[]) => fixture.daemon.crictl(...args);
const lines = async (...args: readonly string[]) =>
  (await crictl(...args)).split("\n").filter((id) => id !== "");

/** crictl works on several objects side by side, and prints each when it is done. */
const sorted = async (...args: readonly string[]) => (await lines(...args)).toSorted();

/** `crictl run`: a pod with one container of the same name. */
async function run(name: string, container: object = {}, pod: object = {}) {
  const files = crictlFiles(fixture.daemon);
  const id = (await crictl("run", files.container(name, container), files.pod(name, pod))).trim();
  return { id, pod: (await crictl("pods", "-q", "--name", `^${name}$`)).trim() };
}

async function refusal(...args: readonly string[]): Promise<string> {
  const { code, stderr } = await fixture.daemon.crictlResult(...args);
  expect(code, args.join(" ")).toBe(1);
  return stderr;
}

const shell = (script: string) => ({ command: ["sh", "-c", script] });

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl", () => {
  test("run: pulls the image, makes pod and container and starts it", async () => {
    expect(await crictl("images", "-q", "busybox")).toBe("");
    const { id, pod } = await run("both", shell("hostname; exec sleep 3600"), { hostname: "both-0" });
    expect(tableOf(await crictl("ps", "--no-trunc", "--pod", pod))).toMatchObject([
      { CONTAINER: id, STATE: "Running", NAME: "both", "POD ID": pod },
    ]);
    await eventually("it has written", async () => (await crictl("logs", id)) === "both-0\n");
    expect(await refusal("run", "--no-pull", ...missingImage())).toMatch(/code = NotFound .*no-such-image/);
    await crictl("rmp", "-f", ...(await lines("pods", "-q")));
    expect(await lines("ps", "-a", "-q")).toEqual([]);
  });

  function missingImage(): [string, string] {
    const files = crictlFiles(fixture.daemon);
    return [files.container("absent", { image: { image: "no-such-image" } }), files.pod("absent")];
  }

  test("create with a pull, start of several, and what a handler that is not there is told", async () => {
    const files = crictlFiles(fixture.daemon);
    const podFile = files.pod("several");
    expect(await refusal("runp", "--runtime", "nosuch", podFile)).toMatch(
      /code = InvalidArgument desc = runtime_handler: there is no .*nosuch/,
    );
    const pod = (await crictl("runp", podFile)).trim();
    const created = [];
    for (const name of ["one", "two"]) {
      created.push((await crictl("create", "--with-pull", pod, files.container(name), podFile)).trim());
    }
    expect(tableOf(await crictl("ps", "-a", "--pod", pod)).map(({ STATE }) => STATE)).toEqual([
      "Created",
      "Created",
    ]);
    expect(await refusal("exec", created[0]!, "true")).toMatch(
      /code = FailedPrecondition .* is created, not running/,
    );
    expect(await sorted("start", ...created)).toEqual(created.toSorted());
    expect(await refusal("start", created[0]!)).toMatch(/code = FailedPrecondition .*it is running/);
    const pids = await Promise.all(created.map((id) => containerPid(fixture.daemon, id)));
    expect(pids.map(isAlive)).toEqual([true, true]);
    expect(await sorted("stop", "--timeout", "0", ...created)).toEqual(created.toSorted());
    expect(pids.map(isAlive)).toEqual([false, false]);
    expect(await refusal("start", created[0]!)).toMatch(/code = FailedPrecondition .*it is exited/);
  });

  test("logs: by stream, time, number and size, with times, followed to the end", async () => {
    const script =
      "step() { while [ ! -e /$1 ]; do sleep 0.1; done; }; echo one; step 1; echo two >&2; step 2; echo three; step 3; echo end";
    const { id } = await run("talks", shell(script));
    const logs = async (...args: readonly string[]) => {
      const { stdout, stderr } = await fixture.daemon.crictlResult("logs", ...args, id);
      return [stdout, stderr];
    };
    const shown = (out: string, err: string) =>
      eventually("the lines are in the log", async () => Bun.deepEquals(await logs(), [out, err]));
    await shown("one\n", "");
    await crictl("exec", id, "touch", "/1");
    await shown("one\n", "two\n");
    await crictl("exec", id, "touch", "/2");
    await shown("one\nthree\n", "two\n");
    expect(await logs("--tail", "2")).toEqual(["three\n", "two\n"]);
    expect(await logs("--tail", "0")).toEqual(["", ""]);
    expect(await logs("--stream", "stderr")).toEqual(["", "two\n"]);
    expect(await logs("--stream", "stdout")).toEqual(["one\nthree\n", ""]);
    expect(await logs("--limit-bytes", "5")).toEqual(["one\n", "t"]);
    expect(await logs("--since", "1h")).toEqual(["one\nthree\n", "two\n"]);
    expect(await logs("--since", "2099-01-01T00:00:00Z")).toEqual(["", ""]);
    const [stamped, late] = await logs("--timestamps");
    const times = [...`${stamped}${late}`.matchAll(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\S+) /gm)].map(
      ([, time]) => time!,
    );
    expect(times).toHaveLength(3);
    const [one, three, two] = times as [string, string, string];
    expect([three, one, two].toSorted()).toEqual([one, two, three]);
    expect(await logs("--since", two)).toEqual(["three\n", "two\n"]);
    {
      await using following = new RunningCrictl(fixture.daemon, "logs", "--follow", "--tail", "1", id);
      await following.prints("three\n");
      expect(await crictl("logs", "--reopen", "--tail", "1", id)).toBe("three\n");
      await crictl("exec", id, "touch", "/3");
      await following.prints("three\nend\n");
      expect(await following.exited).toBe(0);
      expect(following.printed).toBe("three\nend\n");
    }
  });

  test("logs --previous: of the attempt before", async () => {
    const files = crictlFiles(fixture.daemon);
    const podFile = files.pod("again");
    const pod = (await crictl("runp", podFile)).trim();
    const attempt = async (number: number) => {
      const metadata = { name: "again", attempt: number };
      const more = { metadata, log_path: `${number}.log`, ...shell(`echo attempt ${number}`) };
      const id = (await crictl("create", pod, files.container("again", more), podFile)).trim();
      await crictl("start", id);
      await eventually("it has written", async () => (await crictl("logs", id)) === `attempt ${number}\n`);
      return id;
    };
    await attempt(0);
    const second = await attempt(1);
    expect(await crictl("logs", "--previous", second)).toBe("attempt 0\n");
  });

  test.each([...transports])("exec over %s of all containers that a filter finds", async (transport) => {
    const label = `marked-${transport}`;
    const marked = (value: string) =>
      run(`${value}-${transport}`, { labels: { label }, envs: [{ key: "NAME", value }] });
    const [first, second] = [await marked("first"), await marked("second")];
    const exec = (...args: readonly string[]) => crictl("exec", "-r", transport, ...args);
    const found = await exec("--label", `label=${label}`, "sh", "-c", "echo $((40 + 2))");
    // crictl runs them side by side.
    expect(found.trim().split("\n").toSorted()).toEqual(
      ["42", "42", `${first.id}:`, `${second.id}:`].toSorted(),
    );
    expect(await exec("-q", "-x", "--label", `label=${label}`, "echo", "hi")).toBe("hi\nhi\n");
    expect(await exec("-q", "--name", `^first-${transport}$`, "sh", "-c", "echo $NAME")).toBe("first\n");
    expect(await exec("-q", "--pod", second.pod, "sh", "-c", "echo $NAME")).toBe("second\n");
    expect(await exec("-q", "--latest", "sh", "-c", "echo $NAME")).toBe("second\n");
    expect(await refusal("exec", "-r", transport, "--label", `label=${label}`, "false")).toContain(
      "exit code 1",
    );
    expect(await exec("-e", "-q", "--label", `label=${label}`, "false")).toBe("");
  });

  test("exec --sync: output, and a time limit that ends the command", async () => {
    const { id } = await run("limited");
    expect(await crictl("exec", "-s", id, "echo", "hello")).toStartWith("hello\n");
    expect(await refusal("exec", "-s", "--timeout", "1", id, "sleep", "3601")).toMatch(
      /code = DeadlineExceeded desc = exec of sleep 3601 did not end within 1000 ms/,
    );
    expect(await crictl("exec", "-s", id, "sh", "-c", "ps | grep -c '[s]leep 3601' || true")).toStartWith(
      "0\n",
    );
  });

  test.each([...transports])("attach, exec and port-forward over %s to what has ended", async (transport) => {
    const { id, pod } = await run(`ended-${transport}`);
    await crictl("stop", id);
    const notRunning = /code = FailedPrecondition .* is exited, not running/;
    expect(await refusal("attach", "-r", transport, id)).toMatch(notRunning);
    expect(await refusal("exec", "-r", transport, id, "true")).toMatch(notRunning);
    await crictl("stopp", pod);
    expect(await refusal("port-forward", "-r", transport, pod, "80")).toMatch(/code = FailedPrecondition/);
  });

  test("update: new limits, in the status and in the runtime's specification", async () => {
    const { id } = await run("updated");
    const limits = ["--memory", "67108864", "--cpu-quota", "50000", "--cpu-period", "100000"];
    expect(await lines("update", ...limits, "--cpu-share", "512", "--cpuset-cpus", "0", id)).toEqual([id]);
    const { status, info } = await inBothForms<{
      status: { resources: { linux: object } };
      info: { runtimeSpec: { linux: { resources: object } } };
    }>(fixture.daemon, "inspect", id);
    expect(status.resources.linux).toMatchObject({
      memoryLimitInBytes: "67108864",
      cpuQuota: "50000",
      cpuPeriod: "100000",
      cpuShares: "512",
      cpusetCpus: "0",
    });
    expect(info.runtimeSpec.linux.resources).toEqual({
      memory: { limit: 67108864, swap: 67108864 },
      cpu: { shares: 512, quota: 50000, period: 100000, cpus: "0" },
      devices: [],
      // Of the configuration, for a container whose pod has no limit.
      pids: { limit: 4096 },
    });
    expect(await crictl("exec", id, "grep", "Cpus_allowed_list", "/proc/self/status")).toMatch(/:\t0\n$/);
    expect(await refusal("update", "--cpu-share", "-5", id)).toMatch(/code = InvalidArgument .*cpu_shares/);
    await crictl("stop", id);
    expect(await refusal("update", "--memory", "67108864", id)).toMatch(
      /code = FailedPrecondition .*it is exited/,
    );
  });

  test("checkpoint: made by criu where that works, else refused with the reason", async () => {
    const checkpoint = (id: string, to: string) =>
      fixture.daemon.crictlResult("checkpoint", `--export=${to}`, id);
    const location = join(fixture.daemon.root, "kept.tar");
    const linux = { security_context: { namespace_options: { pid: 1 } } };
    const { id } = await run("kept", { linux }, { linux });
    const { code, stderr } = await checkpoint(id, location);
    if (criu === undefined) expect(stderr).toMatch(/code = FailedPrecondition desc = .*criu/);
    expect([code, existsSync(location)]).toEqual(criu === undefined ? [1, false] : [0, true]);
    expect(await crictl("exec", id, "echo", "runs on")).toBe("runs on\n");
    // What crictl makes of a file that says nothing of process namespaces.
    const sharing = await run("sharing");
    expect((await checkpoint(sharing.id, location)).stderr).toMatch(
      /code = Unimplemented desc = .* shares a process namespace/,
    );
    expect(await refusal("checkpoint", id)).toContain("--export");
  });

  test("rm and rmp: what runs is refused without -f; logs go, unless they are to be kept", async () => {
    const { logs } = crictlFiles(fixture.daemon);
    const { id, pod } = await run("runs");
    expect(await refusal("rm", id)).toContain("is running, please stop it first");
    expect(await refusal("rmp", pod)).toContain("is running, please stop it first");
    expect(existsSync(join(logs, "runs.log"))).toBe(true);
    expect(await crictl("rm", "-f", id)).toContain(`${id}\n`);
    expect(existsSync(join(logs, "runs.log"))).toBe(false);
    const other = await run("remembered");
    await crictl("rm", "-f", "--keep-logs", other.id);
    expect(existsSync(join(logs, "remembered.log"))).toBe(true);
    expect(await sorted("stopp", pod, other.pod)).toEqual(
      [pod, other.pod].map((name) => `Stopped sandbox ${name}`).toSorted(),
    );
    expect(await sorted("rmp", pod, other.pod)).toEqual(
      [pod, other.pod].map((name) => `Removed sandbox ${name}`).toSorted(),
    );
  });

  test("everything at once: stop -a, rm of ps -q, rm -a -f and rmp -a -f", async () => {
    await crictl("rmp", "-a", "-f");
    const [one, two, three] = [await run("x"), await run("y"), await run("z")];
    const ofAll = [three.id, two.id, one.id];
    expect(await sorted("stop", "--all")).toEqual(ofAll.toSorted());
    expect(await lines("ps", "-q")).toEqual([]);
    expect(await lines("ps", "-a", "-q")).toEqual(ofAll);
    await crictl("rm", ...(await lines("ps", "-a", "-q", "--name", "x|y")));
    expect(await lines("ps", "-a", "-q")).toEqual([three.id]);
    const again = await run("x2");
    await crictl("rm", "-a", "-f");
    expect(await lines("ps", "-a", "-q")).toEqual([]);
    expect(await sorted("pods", "-q")).toEqual([one, two, three, again].map(({ pod }) => pod).toSorted());
    await crictl("rmp", "-a", "-f");
    expect(await lines("pods", "-q")).toEqual([]);
  });
});
