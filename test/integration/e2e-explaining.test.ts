// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
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
      const waiting = told.filter(({ nextTryAt }) => nextTryAt !== undefined).map(({ name }) => name);
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
  expect((await daemon.podrt("rm", "-f", "loose")).code).toBe(0);
});
