// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { RuntimeSpec } from "../../src/oci/runtime-spec.ts";
import { pathsFor } from "../../src/paths.ts";
import { projectDir } from "../fixtures/images/packages.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";

const fixture = useDaemon({
  config: "[pods]\nrestart_backoff_ms = 600000\nrestart_backoff_max_ms = 600000\n",
});

const broken = `
apiVersion: v1
kind: Pod
metadata: {name: broken}
spec:
  containers:
    - {name: typo, image: busybox, command: [slep, "1000"]}
    - {name: crash, image: busybox, command: [sh, -c, "echo no database >&2; exit 3"]}
    - {name: nowhere, image: "localhost:1/x:1", command: [sleep, "1000"]}
    - {name: well, image: busybox, command: [sleep, "1000"]}
    - name: greedy
      image: busybox
      command: [sh, -c, "head -c 200m /dev/zero | tail >/dev/null"]
      resources: {limits: {memory: 16Mi}}
`;

interface Told {
  readonly name: string;
  readonly state: string;
  readonly isWell: boolean;
  readonly facts: readonly string[];
  readonly failedStep?: { readonly step: string; readonly errno: string };
  readonly likely?: { readonly cause: string };
  readonly nextTryAt?: string;
  readonly times: readonly { readonly what: string }[];
  readonly operations: readonly { readonly operation: string }[];
  readonly log: readonly string[];
}

test("why tells of each container of a pod what befell it, and who stopped the pod", async () => {
  const { daemon } = fixture;
  const ran = await daemon.podrtWith({ stdin: broken }, "run", "--detach", "-");
  expect(ran).toMatchObject({ code: 0 });
  const stories = await eventually(
    "all five are told",
    async () => {
      const { stdout } = await daemon.podrt("why", "broken", "-o", "json");
      const told = JSON.parse(stdout) as Told[];
      // The first restart comes at once.
      const isLater = ({ nextTryAt }: Told) => Date.parse(nextTryAt ?? "") > Date.now() + 60_000;
      const waiting = told.filter(isLater).map(({ name }) => name);
      expect(waiting.toSorted()).toEqual(["broken/crash", "broken/greedy", "broken/nowhere", "broken/typo"]);
      return new Map(told.map((story) => [story.name, story]));
    },
    60_000,
  );
  expect(stories.get("broken/typo")).toMatchObject({
    failedStep: { step: "execute slep (looked for in PATH)", errno: "ENOENT" },
    likely: { cause: expect.stringContaining("no such program") },
  });
  const crash = stories.get("broken/crash")!;
  expect(crash.facts.join("\n")).toContain("exit code 3");
  expect(crash.log).toEqual(["no database"]);
  expect(crash.times.map(({ what }) => what).slice(-3)).toEqual(["created", "started", "ended"]);
  const nowhere = stories.get("broken/nowhere")!;
  expect(nowhere).toMatchObject({ state: "ErrImagePull", isWell: false });
  expect(nowhere.likely?.cause).toContain("cannot be reached");
  expect(stories.get("broken/well")).toMatchObject({ state: "Running", isWell: true });
  const greedy = stories.get("broken/greedy")!;
  expect(greedy.facts.join("\n")).toContain("the container's memory limit of 16 MiB was reached");
  expect(greedy.likely?.cause).toContain("more memory than its limit");
  expect(crash.operations.map(({ operation }) => operation)).toEqual(["CreateContainer", "StartContainer"]);
  const text = await daemon.podrt("why", "broken/greedy");
  expect(text.stdout).toContain("What to do: raise resources.limits.memory");
  expect((await daemon.podrt("stop", "broken", "-t", "0")).code).toBe(0);
  expect((await daemon.podrt("why", "broken/well")).stdout).toContain("Somebody asked for the stop");
  expect((await daemon.podrt("rm", "broken")).code).toBe(0);
});

const loose = `
apiVersion: v1
kind: Pod
metadata: {name: loose}
spec:
  volumes:
    - {name: etc, hostPath: {path: /etc}}
    - {name: own, emptyDir: {}}
  containers:
    - name: strict
      image: busybox
      command: [sleep, "1000"]
      volumeMounts: [{name: own, mountPath: /own}]
      securityContext:
        runAsUser: 1000
        runAsNonRoot: true
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
        seccompProfile: {type: RuntimeDefault}
    - name: wide
      image: busybox
      command: [sleep, "1000"]
      volumeMounts: [{name: etc, mountPath: /host}, {name: own, mountPath: /own}]
      securityContext:
        capabilities: {add: [NET_ADMIN]}
        seccompProfile: {type: Unconfined}
---
apiVersion: v1
kind: Pod
metadata: {name: wild}
spec:
  hostNetwork: true
  hostPID: true
  containers:
    - {name: all, image: busybox, command: [sleep, "1000"], securityContext: {privileged: true}}
    - {name: user, image: busybox, command: [sleep, "1000"], tty: true, securityContext: {runAsUser: 7, runAsGroup: 8}}
`;

interface Policy {
  readonly allowed: readonly string[];
  readonly containers: readonly {
    readonly name: string;
    readonly pid: number;
    readonly rows: readonly { what: string; asked: string; got: string; differs: boolean }[];
    readonly violations: readonly { level: string; rule: string; why: string }[];
  }[];
}

test("policy shows what containers got, as asked, and the rules that they break", async () => {
  const { daemon } = fixture;
  expect(await daemon.podrtWith({ stdin: loose }, "run", "--detach", "-A", "-")).toMatchObject({ code: 0 });
  await runningPod(daemon, "loose");
  await runningPod(daemon, "wild");
  const { stdout } = await daemon.podrt("policy", "loose", "-o", "json");
  const { containers } = JSON.parse(stdout) as Policy;
  const [strict, wide] = ["strict", "wide"].map(
    (name) => containers.find((one) => one.name === `loose/${name}`)!,
  );
  for (const { rows } of containers) expect(rows.filter(({ differs }) => differs)).toEqual([]);
  const got = (policy: typeof strict, what: string) => policy!.rows.find((row) => row.what === what)?.got;
  expect(got(strict, "user")).toBe("1000");
  expect(got(strict, "capabilities, bounding")).toBe("none");
  expect(got(strict, "no_new_privs")).toBe("yes");
  expect(got(strict, "seccomp")).toBe("filter");
  expect(got(wide, "seccomp")).toBe("off");
  expect(got(wide, "capabilities, effective")).toContain("NET_ADMIN");
  expect(strict!.violations).toEqual([]);
  expect(wide!.violations.map(({ level, rule }) => `${level} ${rule}`)).toEqual([
    "baseline Capabilities",
    "baseline HostPath Volumes",
    "baseline Seccomp",
    "restricted Privilege Escalation",
    "restricted Running as Non-root",
    "restricted Capabilities",
    "restricted Capabilities",
  ]);
  const text = await daemon.podrt("policy", "loose/wide");
  expect(text.stdout).toContain("HostPath Volumes: /etc of the machine is mounted");
  const wild = JSON.parse((await daemon.podrt("policy", "wild", "-o", "json")).stdout) as Policy;
  expect(wild.containers.flatMap(({ rows }) => rows.filter(({ differs }) => differs))).toEqual([]);
  const all = wild.containers.find(({ name }) => name === "wild/all");
  expect(got(all, "namespaces of the host")).toBe("cgroup, net, pid, user, uts");
  expect(all!.violations.map(({ rule }) => rule).slice(0, 3)).toEqual([
    "Host Namespaces",
    "Host Namespaces",
    "Privileged Containers",
  ]);
  expect((await daemon.podrt("rm", "-f", "loose", "wild")).code).toBe(0);
});

const explained = `
apiVersion: v1
kind: Pod
metadata: {name: plan}
spec:
  volumes:
    - {name: own, emptyDir: {}}
    - {name: host, hostPath: {path: /nowhere/at/all}}
  containers:
    - name: app
      image: busybox
      command: [sleep, "1000"]
      env: [{name: PASSWORD, value: hunter2}]
      ports: [{containerPort: 80, hostPort: 18080}]
      volumeMounts: [{name: own, mountPath: /own}, {name: host, mountPath: /h}]
      resources: {limits: {memory: 32Mi}}
      securityContext: {capabilities: {drop: [ALL]}}
    - {name: absent, image: "localhost:1/x:1", command: [sleep, "1000"]}
    - {name: pulled, image: "nginx:latest"}
`;

/** The same where everything is there that it needs. */
const withoutHost = explained
  .replace(/\n {4}- \{name: (absent|pulled).*/g, "")
  .replace(/\n {4}- \{name: host.*/, "")
  .replace(", {name: host, mountPath: /h}", "");

interface Plan {
  readonly needs: readonly { permission: string; isAllowed: boolean }[];
  readonly pods: readonly {
    readonly sandbox: { newNamespaces: string[]; program: ProgramTable[]; network: string[] };
    readonly containers: readonly {
      readonly name: string;
      readonly problem?: string;
      readonly image: {
        step: string;
        registry?: { digest?: string; downloadBytes?: number; problem?: string };
      };
      readonly command: string[];
      readonly mounts: { destination: string; source: string; options: string[] }[];
      readonly capabilities: string[];
      readonly cgroup: { settings: { file: string; value: string }[] };
      readonly program: ProgramTable[];
    }[];
  }[];
}

interface ProgramTable {
  readonly steps: readonly { name: string; call: string }[];
}

test("explain says what a run then does, and does nothing of it", async () => {
  const { daemon } = fixture;
  expect((await daemon.podrt("pull", "busybox")).code).toBe(0);
  const asked = await daemon.podrtWith({ stdin: explained }, "explain", "-", "-o", "json");
  // The one whose image is not here cannot be explained to the end.
  expect(asked.code).toBe(1);
  expect(readdirSync(pathsFor(daemon.root).podsDir)).toEqual([]);
  expect(readdirSync(pathsFor(daemon.root).containersDir)).toEqual([]);
  expect(existsSync("/nowhere")).toBe(false);
  expect((await daemon.pods.listPods({})).pods).toEqual([]);
  expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
  const { needs, pods } = JSON.parse(asked.stdout) as Plan;
  expect(needs).toEqual([
    expect.objectContaining({ permission: "host-path=/nowhere/at/all", isAllowed: false }),
  ]);
  const { sandbox, containers } = pods[0]!;
  expect(sandbox.newNamespaces).toEqual(["mount", "network", "ipc", "uts", "pid"]);
  expect(sandbox.network.join("\n")).toContain("forward port 18080/TCP");
  const [app, absent] = [
    containers.find(({ name }) => name === "app")!,
    containers.find(({ name }) => name === "absent")!,
  ];
  expect(absent.problem).toContain("is not here yet");
  expect(absent.image).toMatchObject({
    step: "is pulled",
    registry: { problem: expect.stringContaining("cannot look up localhost:1/x:1: ") },
  });
  expect(app.problem).toBeUndefined();
  expect(app.mounts.find(({ destination }) => destination === "/h")?.source).toBe("/nowhere/at/all");
  expect(app.cgroup.settings.map(({ value }) => value)).toContain("33554432");
  const calls = (tables: readonly ProgramTable[]) =>
    tables.flatMap(({ steps }) => steps.map(({ call }) => call));
  expect(calls(sandbox.program).join("\n")).toMatch(/clone3\(\{flags=.*CLONE_NEWNET/);
  expect(calls(sandbox.program).at(-1)).toStartWith('execveat(fd of /memfd:podrt-pause, "", ["/pause"]');
  expect(calls(app.program)).toContain("setns(fd of the pause, CLONE_NEWNET|CLONE_NEWIPC|CLONE_NEWUTS)");
  expect(calls(app.program).at(-1)).toStartWith("execve(");
  expect(asked.stdout).not.toContain("hunter2");
  const text = await daemon.podrtWith({ stdin: explained }, "explain", "--calls", "-");
  expect(text.stdout).toContain("not allowed: give --allow-host-path=/nowhere/at/all");
  const { digest, downloadBytes } = containers.find(({ name }) => name === "pulled")!.image.registry!;
  expect(text.stdout).toMatch(
    new RegExp(
      `Image nginx:latest of pulled is pulled \\(policy Always\\): the registry has ${digest}, \\S+ to download`,
    ),
  );
  expect(text.stdout).toContain("Image busybox of app is here, and is asked for again (policy Always): the");
  const offline = await daemon.podrtWith({ stdin: explained }, "explain", "--offline", "-");
  expect(offline.stdout).toContain("Image nginx:latest of pulled is pulled (policy Always)\n");
  expect(text.stdout).toContain('Container app\n    runs ["sleep","1000"] in /\n');

  const examples = await daemon.podrt("explain", "-A", "-o", "json", join(projectDir, "examples"));
  const planned = (JSON.parse(examples.stdout) as Plan).pods.flatMap((pod) => pod.containers);
  const problems = planned.flatMap(({ problem }) => problem ?? []);
  expect(problems.filter((problem) => !problem.includes("is not here yet"))).toEqual([]);
  expect(planned.length).toBeGreaterThan(problems.length);

  // The same pod without the other container, run for real, has what was said.
  const real = withoutHost;
  expect(await daemon.podrtWith({ stdin: real }, "run", "--detach", "-")).toMatchObject({ code: 0 });
  await runningPod(daemon, "plan");
  const { container } = JSON.parse((await daemon.podrt("inspect", "plan/app")).stdout) as {
    container: { info: { runtimeSpec: RuntimeSpec } };
  };
  const spec = container.info.runtimeSpec;
  const asRun = app.mounts.filter(({ destination }) => destination !== "/h");
  expect(asRun.map(({ destination, options }) => [destination, options])).toEqual(
    spec.mounts.map(({ destination, options }) => [destination, [...options]]),
  );
  expect(app.capabilities).toEqual([...spec.process.capabilities.bounding]);
  expect(app.command).toEqual([...spec.process.args]);
  expect((await daemon.podrt("rm", "-f", "plan")).code).toBe(0);

  // What the registry was said to have is what a pull then brings.
  expect((await daemon.podrt("images", "-o", "name")).stdout).not.toContain("nginx");
  const blobBytes = async () =>
    (await daemon.pods.diskUsage({})).rows.find(({ kind }) => kind === "images")!.bytes;
  const before = await blobBytes();
  expect((await daemon.podrt("pull", "nginx")).code).toBe(0);
  const { image } = await daemon.api.imageStatus({ image: { image: "nginx" } });
  expect(image?.repoDigests).toEqual([`docker.io/library/nginx@${digest}`]);
  expect((await blobBytes()) - before).toBe(BigInt(downloadBytes!));
});
