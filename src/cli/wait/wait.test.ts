// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { ContainerState, PodSandboxState } from "../../gen/runtime/v1/api_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate } from "../fake-pods.ts";

const EXITED = ContainerState.CONTAINER_EXITED;

/** Of `demo` both containers run; `codes` are the exit codes by the first digit of the id. */
async function daemonWith(codes: Record<string, number> = {}): Promise<FakeDaemon> {
  const daemon = await startFakeDaemon({
    runtime: {
      containerStatus: ({ containerId }) => ({
        status: { id: containerId, exitCode: codes[containerId[0]!] ?? 0, finishedAt: 5n, reason: "Error" },
      }),
      listContainers: () => {
        onLook();
        return { containers: daemon.containers };
      },
    },
  });
  populate(daemon);
  daemon.pods[0]!.containers = [
    { name: "app1", state: "running", containerId: id("b"), ready: true },
    { name: "app2", state: "running", containerId: id("f"), ready: true },
  ];
  return daemon;
}

/** What happens meanwhile; each test sets its own. */
let onLook: () => void = () => {};

async function waiting(daemon: FakeDaemon, args: string[], change: () => void = () => {}) {
  let looks = 0;
  onLook = () => {
    if (++looks === 3) change();
  };
  return await runCommand(daemon.socketPath, ["wait", ...args]);
}

describe("the end", () => {
  test("of a container is told with its exit code, though another follows it", async () => {
    await using daemon = await daemonWith({ b: 7 });
    const outcome = await waiting(daemon, ["demo/app1"], () => {
      daemon.containers[0]!.state = EXITED;
      const next = { ...daemon.containers[0]!, id: id("9"), metadata: { name: "app1", attempt: 3 } };
      daemon.containers.push({ ...next, createdAt: next.createdAt! + 9n, state: 1 });
    });
    expect(outcome).toEqual({ exitCode: 0, out: "7\n", err: "" });
  });

  test("of a pod is told with all codes, and what became of them when it is removed", async () => {
    await using daemon = await daemonWith({ b: 3 });
    daemon.pods[0]!.containers!.reverse();
    daemon.containers.push({ ...daemon.containers[0]!, id: id("f"), metadata: { name: "app2", attempt: 0 } });
    daemon.containers.at(-1)!.state = EXITED;
    const outcome = await waiting(daemon, ["demo", "-o", "json"], () => {
      daemon.containers[0]!.state = EXITED;
      daemon.pods[0]!.phase = "Failed";
    });
    expect(JSON.parse(outcome.out)).toEqual({
      name: "demo",
      met: "exit",
      containers: [
        { id: id("f"), name: "app2", exitCode: 0, reason: "Error" },
        { id: id("b"), name: "app1", exitCode: 3, reason: "Error" },
      ],
    });
    daemon.containers.pop();
    daemon.pods[0]!.phase = "Running";
    daemon.containers[0]!.state = 1;
    const removed = await waiting(daemon, ["demo"], () => {
      daemon.pods = [];
      daemon.sandboxes = daemon.sandboxes.slice(1);
      daemon.containers = daemon.containers.slice(2);
    });
    expect(removed).toEqual({ exitCode: 0, out: "app1 unknown\n", err: "" });
  });

  test("of a pod of a kubelet is that of its containers", async () => {
    await using daemon = await daemonWith();
    const outcome = await waiting(daemon, ["other"], () => {
      daemon.containers[2]!.state = EXITED;
    });
    expect(outcome).toEqual({ exitCode: 0, out: "etcd 0\n", err: "" });
  });
});

describe("running and ready", () => {
  test("are met at once, or later", async () => {
    await using daemon = await daemonWith();
    expect(await waiting(daemon, ["demo", "--for", "ready"])).toEqual({ exitCode: 0, out: "", err: "" });
    daemon.pods[0]!.containers![1] = { name: "app2", state: "waiting", reason: "ErrImagePull" };
    const changed = () => {
      daemon.pods[0]!.containers![1] = { name: "app2", state: "running" };
    };
    expect((await waiting(daemon, ["demo", "--for", "running"], changed)).exitCode).toBe(0);
    const late = await waiting(daemon, ["demo", "--for=ready", "--timeout=300ms"]);
    expect([late.exitCode, late.err]).toEqual([
      124,
      "podrt: pod demo has not come to ready within 0.3 s: it is container app2 running\n",
    ]);
    expect((await waiting(daemon, ["other", "--for", "ready"])).exitCode).toBe(0);
    expect((await waiting(daemon, ["demo/app1", "--for", "ready"])).exitCode).toBe(0);
  });

  test("cannot be met any more by what has ended or is gone", async () => {
    await using daemon = await daemonWith();
    const never = async (args: string[], change?: () => void) => {
      const { exitCode, err } = await waiting(daemon, args, change);
      expect(exitCode).toBe(3);
      return err;
    };
    daemon.pods[0]!.containers![1] = { name: "app2", state: "terminated", reason: "Completed" };
    expect(await never(["demo", "--for", "running"])).toBe(
      "podrt: pod demo will not come to running: it is container app2 Completed\n",
    );
    expect(await never(["demo/app2", "--for", "running"])).toContain("it is terminated, Completed");
    daemon.pods[0]!.phase = "Succeeded";
    expect(await never(["demo", "--for", "ready"])).toContain("it is Succeeded");
    daemon.sandboxes[1]!.state = PodSandboxState.SANDBOX_NOTREADY;
    expect(await never(["other", "--for", "ready"])).toContain("it is NotReady");
  });
});

test("a container that is still to be made can be waited for, one that nobody plans cannot", async () => {
  await using daemon = await daemonWith();
  daemon.pods[0]!.containers![1] = { name: "app2", state: "waiting", reason: "ErrImagePull" };
  const made = { ...daemon.containers[0]!, id: id("f"), metadata: { name: "app2", attempt: 0 } };
  const outcome = await waiting(daemon, ["demo/app2", "--for", "running"], () => {
    daemon.containers.push(made);
  });
  expect(outcome).toEqual({ exitCode: 0, out: "", err: "" });
  const nobody = await waiting(daemon, ["demo/nobody"]);
  expect([nobody.exitCode, nobody.err]).toEqual([
    1,
    "podrt: there is no pod or container demo/nobody; pod demo has app1, app2\n",
  ]);
  expect((await waiting(daemon, ["demo", "--timeout", "soon"])).exitCode).toBe(2);
});
