// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { demoPod, keptPod, runDetached, runningPod, sharedNamespaceDemo } from "./harness/manifests.ts";

const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 20\nrestart_backoff_max_ms = 50\n" });

function podOf(name: string, more: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec:\n  ${more.replaceAll("\n", "\n  ")}\n`;
}

test("run shows the logs of all containers with a prefix each until Ctrl-C, then removes the pod", async () => {
  const { daemon } = fixture;
  const child = spawn(binary, ["run", "--root", daemon.root, "-"], { stdio: ["pipe", "pipe", "pipe"] });
  // sleep as PID 1 takes no notice of SIGTERM.
  child.stdin.end(`${readFileSync(demoPod, "utf8")}  terminationGracePeriodSeconds: 1\n`);
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const ended = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? -1)));
  const pod = await runningPod(daemon, "demo-pod");
  await eventually("the request is shown with its container's name", async () => {
    await fetch(`http://${pod.addresses[0]}/shown`, { signal: AbortSignal.timeout(1000) });
    return /^app1 +\| .*GET \/shown/m.test(stdout);
  });
  child.kill("SIGINT");
  expect(await Promise.race([ended, Bun.sleep(20_000)])).toBe(0);
  expect((await daemon.pods.listPods({})).pods).toEqual([]);
  expect(await daemon.leftovers()).toEqual([]);
});

test("restartPolicy Never ends the pod as its containers ended, and run tells the failure", async () => {
  const { daemon } = fixture;
  const containers =
    "restartPolicy: Never\ncontainers: [{name: app, image: busybox, command: [sh, -c, 'echo bye; exit 3']}]";
  const failed = await daemon.podrtWith({ stdin: podOf("once", containers) }, "run", "-");
  expect(failed.stdout).toMatch(/bye/);
  expect(failed.stderr).toMatch(/^podrt: .*once.*3/m);
  expect(failed.code).toBe(1);
  const fine = containers.replace("exit 3", "exit 0");
  const done = await daemon.podrtWith({ stdin: podOf("once", fine) }, "run", "-");
  expect(done).toMatchObject({ code: 0 });
});

test("restartPolicy OnFailure restarts what failed and not what succeeded", async () => {
  const { daemon } = fixture;
  const containers = `restartPolicy: OnFailure
volumes: [{name: count, emptyDir: {}}]
containers:
- name: third-time
  image: busybox
  command: [sh, -c, 'echo x >> /count/runs; [ $(wc -l < /count/runs) -ge 3 ]']
  volumeMounts: [{name: count, mountPath: /count}]
- {name: at-once, image: busybox, command: ["true"]}`;
  expect((await daemon.podrtWith({ stdin: podOf("retried", containers) }, "run", "--detach", "-")).code).toBe(
    0,
  );
  const pod = await eventually("the pod has succeeded", async () => {
    const now = await keptPod(daemon, "retried");
    return now.phase === "Succeeded" ? now : undefined;
  });
  expect(pod.containers.map(({ name, restarts }) => [name, restarts])).toEqual([
    ["third-time", 2],
    ["at-once", 0],
  ]);
});

test("a container's own restartPolicy and rules go before the pod's", async () => {
  const { daemon } = fixture;
  const containers = `restartPolicy: Always
volumes: [{name: count, emptyDir: {}}]
initContainers:
- name: step
  image: busybox
  restartPolicy: Never
  restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [9]}}]
  command: [sh, -c, 'echo x >> /count/step; [ $(wc -l < /count/step) -ge 2 ] || exit 9']
  volumeMounts: [{name: count, mountPath: /count}]
containers:
- name: ruled
  image: busybox
  restartPolicy: Never
  restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [5]}}]
  command: [sh, -c, 'echo x >> /count/runs; [ $(wc -l < /count/runs) -ge 3 ] && exit 5; exit 0']
  volumeMounts: [{name: count, mountPath: /count}]
- {name: at-once, image: busybox, restartPolicy: OnFailure, command: ["true"]}`;
  const ran = await daemon.podrtWith({ stdin: podOf("ruled", containers) }, "run", "-");
  expect(ran.stderr).toContain("pod ruled failed: container ruled ended with exit code 5");
  expect(ran.code).toBe(1);
  await daemon.podrtWith({ stdin: podOf("ruled", containers) }, "run", "--detach", "-");
  const pod = await eventually("the pod is over", async () => {
    const now = await keptPod(daemon, "ruled");
    return now.phase === "Failed" ? now : undefined;
  });
  expect([...pod.initContainers, ...pod.containers].map(({ name, restarts }) => [name, restarts])).toEqual([
    ["step", 1],
    ["ruled", 2],
    ["at-once", 0],
  ]);
});

test("a container that keeps failing waits in CrashLoopBackOff and says its exit code", async () => {
  const { daemon } = fixture;
  const containers = "containers: [{name: app, image: busybox, command: ['false']}]";
  expect((await daemon.podrtWith({ stdin: podOf("crash", containers) }, "run", "--detach", "-")).code).toBe(
    0,
  );
  await eventually("it waits", async () => {
    const [container] = (await keptPod(daemon, "crash")).containers;
    return container!.reason === "CrashLoopBackOff" && container!.restarts > 2;
  });
  expect((await daemon.podrt("pods")).stdout).toMatch(/crash/);
});

test("an image that cannot be pulled is told in the pod's list, and the pod waits", async () => {
  const { daemon, registry } = fixture;
  const containers = `containers: [{name: app, image: "${registry.host}/no/such:1"}]`;
  expect(
    (await daemon.podrtWith({ stdin: podOf("pullless", containers) }, "run", "--detach", "-")).code,
  ).toBe(0);
  const container = await eventually("the reason is known", async () => {
    const [first] = (await keptPod(daemon, "pullless")).containers;
    return /^(ErrImagePull|ImagePullBackOff)$/.test(first!.reason) ? first : undefined;
  });
  expect(container.message).toContain(`${registry.host}/no/such:1`);
});

test("exec passes input, output, errors and the exit code, and gives a terminal when asked", async () => {
  const { daemon } = fixture;
  await runDetached(daemon, sharedNamespaceDemo);
  await runningPod(daemon, "shared-namespace-demo");
  const shell = "shared-namespace-demo/shell";
  const plain = await daemon.podrt("exec", shell, "--", "sh", "-c", "echo out; echo err >&2; exit 5");
  expect(plain).toMatchObject({ code: 5, stdout: "out\n", stderr: "err\n" });
  const text = "a line\n".repeat(20_000);
  const echoed = await daemon.podrtWith({ stdin: text }, "exec", "-i", shell, "--", "cat");
  expect(echoed.stdout === text).toBe(true);
  const terminal = await daemon.podrt("exec", "-t", shell, "--", "tty");
  expect(terminal.stdout).toMatch(/^\/dev\/pts\/\d+/);
  const none = await daemon.podrt("exec", shell, "--", "/no/such");
  expect(none.code).toBe(127);
  expect(none.stderr).toMatch(/no\/such/);
});

test("inspect, images and ps give JSON for programs", async () => {
  const { daemon } = fixture;
  const pod = JSON.parse((await daemon.podrt("inspect", "shared-namespace-demo")).stdout) as Record<
    string,
    unknown
  >;
  expect(JSON.stringify(pod)).toContain((await keptPod(daemon, "shared-namespace-demo")).sandboxId);
  const images = JSON.parse((await daemon.podrt("images", "-o", "json")).stdout) as object[];
  expect(images.length).toBeGreaterThan(1);
  const containers = JSON.parse((await daemon.podrt("ps", "-a", "-o", "json")).stdout) as { name: string }[];
  expect(containers.map(({ name }) => name)).toContain("POD-shared-namespace-demo");
});
