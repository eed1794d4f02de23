// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { keptPod, runningPod, succeededPod } from "./harness/manifests.ts";

const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 20\nrestart_backoff_max_ms = 50\n" });

const OBJECTS = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello, page.html: "<p>a page</p>", mode: fast}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: "p$(X)s"}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
`;

const podOf = (name: string, script: string, mounts: string, volumes: string, more = "") => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: shown}}
spec:
  restartPolicy: Never
  volumes: [${volumes}]
  containers:
  - name: app
    image: busybox
    command: [sh, -c, ${JSON.stringify(script)}]
    volumeMounts: [${mounts}]
    ${more}
`;

/** What the pod printed; it must have succeeded. */
async function printed(manifest: string): Promise<string[]> {
  const ran = await fixture.daemon.podrtWith({ stdin: manifest }, "run", "-");
  expect(ran).toMatchObject({ code: 0 });
  return ran.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/^\S+ +\| /, ""));
}

test("variables come from maps, secrets and the pod itself", async () => {
  const more = `envFrom: [{configMapRef: {name: settings}, prefix: S_}]
    resources: {limits: {memory: 64Mi}}
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: ALL, value: "$(S_mode) $(APP)"}`;
  const script =
    'echo "$S_greeting $PASSWORD $NAME $APP $MEMORY $ALL"; test "$IP" = "$(hostname -i)" && echo same';
  expect(await printed(OBJECTS + podOf("variables", script, "", "", more))).toEqual([
    "hello p$(X)s variables shown 64 fast shown",
    "same",
  ]);
});

test("files come from maps, secrets and the pod itself, with their modes, and cannot be written", async () => {
  const volumes = `{name: all, projected: {defaultMode: 0440, sources: [
      {configMap: {name: settings, items: [{key: page.html, path: www/index.html, mode: 0400}]}},
      {secret: {name: keys}},
      {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}},
    {name: map, configMap: {name: settings}}`;
  const mounts = "{name: all, mountPath: /all}, {name: map, mountPath: /etc/app.html, subPath: page.html}";
  const script =
    "cat /all/www/index.html /all/password; echo; cat /all/labels; echo; stat -L -c '%a' /all/www/index.html /all/password; cat /etc/app.html; echo; touch /all/x 2>/dev/null || echo read-only";
  expect(await printed(OBJECTS + podOf("files", script, mounts, volumes))).toEqual([
    "<p>a page</p>p$(X)s",
    'app="shown"',
    "400",
    "440",
    "<p>a page</p>",
    "read-only",
  ]);
});

test("a claim's directory outlives the pod, a volume in memory does not, and both have subPaths", async () => {
  const volumes =
    "{name: disk, persistentVolumeClaim: {claimName: disk}}, {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}";
  const mounts =
    "{name: disk, mountPath: /data, subPathExpr: $(WHO)/deep}, {name: disk, mountPath: /whole}, {name: mem, mountPath: /mem}, {name: mem, mountPath: /part, subPath: a/b}";
  const who = "env: [{name: WHO, value: me}]";
  const write =
    "echo kept > /data/file; cat /whole/me/deep/file; echo x > /mem/a/b/y; cat /part/y; df -m /mem | tail -1 | awk '{print $2}'; dd if=/dev/zero of=/mem/big bs=1M count=2 2>/dev/null || echo full";
  expect(await printed(OBJECTS + podOf("writer", write, mounts, volumes, who))).toEqual([
    "kept",
    "x",
    "1",
    "full",
  ]);
  expect(await printed(OBJECTS + podOf("reader", "cat /data/file; ls /mem", mounts, volumes, who))).toEqual([
    "kept",
    "a",
  ]);
  const listed = JSON.parse((await fixture.daemon.podrt("volume", "ls", "-o", "json")).stdout);
  expect(listed).toMatchObject([{ namespace: "default", name: "disk", pods: [] }]);
  const holder = podOf("holder", "sleep 3600", mounts, volumes, who).replace(
    "spec:",
    "spec:\n  terminationGracePeriodSeconds: 0",
  );
  expect((await fixture.daemon.podrtWith({ stdin: OBJECTS + holder }, "run", "--detach", "-")).code).toBe(0);
  const refused = await fixture.daemon.podrt("volume", "rm", "disk");
  expect(refused.stderr).toBe("podrt: volume disk belongs to pod default/holder; remove the pod first\n");
  expect((await fixture.daemon.podrt("rm", "-f", "holder")).code).toBe(0);
  expect(await fixture.daemon.podrt("volume", "rm", "disk")).toMatchObject({ code: 0, stdout: "disk\n" });
  expect(existsSync(listed[0].path)).toBe(false);
  expect((await fixture.daemon.podrt("volume", "rm", "disk")).stderr).toContain("there is no volume disk");
  expect(await fixture.daemon.leftovers()).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(fixture.daemon.root);
});

test("a link in a volume leads nobody out of it through a subPath", async () => {
  const outside = mkdtempSync(join(tmpdir(), "podrt-outside-"));
  try {
    writeFileSync(join(outside, "secret"), "of the host");
    symlinkSync("/etc", join(outside, "link"));
    const volumes = `{name: v, hostPath: {path: ${outside}}}`;
    const manifest = podOf("climber", "ls /x", "{name: v, mountPath: /x, subPath: link}", volumes);
    expect((await fixture.daemon.podrtWith({ stdin: manifest }, "run", "--detach", "-A", "-")).code).toBe(0);
    const container = await eventually("it is refused", async () => {
      const [first] = (await keptPod(fixture.daemon, "climber")).containers;
      return first!.message === "" ? undefined : first;
    });
    expect(container).toMatchObject({ state: "waiting", reason: "CreateContainerError" });
    expect(container.message).toContain("the subPath link of the volume at /x cannot be used");
    expect((await fixture.daemon.podrt("rm", "-f", "climber")).code).toBe(0);
  } finally {
    rmSync(outside, { recursive: true });
  }
});

test("an image is a volume, several files are one manifest, and what has no effect is told", async () => {
  const directory = mkdtempSync(join(tmpdir(), "podrt-manifests-"));
  try {
    writeFileSync(join(directory, "1-objects.yaml"), OBJECTS);
    writeFileSync(
      join(directory, "2-deployment.yml"),
      `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      volumes: [{name: tools, image: {reference: busybox}}, {name: m, configMap: {name: settings}}]
      containers:
      - {name: app, image: nginx, volumeMounts: [{name: tools, mountPath: /tools}, {name: m, mountPath: /m}]}
`,
    );
    writeFileSync(join(directory, "notes.txt"), "no manifest");
    const { daemon } = fixture;
    const ran = await daemon.podrt("run", "--detach", directory);
    expect(ran).toMatchObject({ code: 0, stdout: "web-0\nweb-1\n" });
    expect(ran.stderr).toContain("2-deployment.yml:6:3: spec.strategy: has no effect");
    await runningPod(daemon, "web-0");
    await runningPod(daemon, "web-1");
    const read = await daemon.podrt("exec", "web-1/app", "--", "/tools/bin/busybox", "cat", "/m/greeting");
    expect(read).toMatchObject({ code: 0, stdout: "hello" });
    expect((await daemon.podrt("rm", "-f", "web-0", "web-1")).code).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a volume on disk, or a container's root, that outgrows its limit ends the pod", async () => {
  const volumes = "{name: v, emptyDir: {sizeLimit: 1Mi}}";
  const script = "dd if=/dev/zero of=/v/big bs=1M count=3 2>/dev/null; sleep 3600";
  const manifest = podOf("large", script, "{name: v, mountPath: /v}", volumes, "terminationMessagePath: /x");
  const writer = podOf(
    "writer",
    script.replace("/v/", "/"),
    "",
    "",
    "resources: {limits: {ephemeral-storage: 1Mi}}",
  );
  const noGrace = "  terminationGracePeriodSeconds: 0\n";
  const ran = await fixture.daemon.podrtWith(
    { stdin: `${manifest}${noGrace}---\n${writer}${noGrace}` },
    "run",
    "-",
  );
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain(
    "the emptyDir volume v takes more than its sizeLimit of 1048576 bytes (Evicted)",
  );
  expect(ran.stderr).toContain(
    "container app takes more than its limit of ephemeral-storage, 1048576 bytes, with its root and its logs (Evicted)",
  );
});

test("a manifest from an address", async () => {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) =>
      url.endsWith("/pod.yaml")
        ? new Response(podOf("fetched", "echo from afar", "", ""))
        : new Response("", { status: 404 }),
  });
  try {
    const ran = await fixture.daemon.podrt("run", `${server.url}pod.yaml`);
    expect(ran).toMatchObject({ code: 0 });
    expect(ran.stdout).toContain("from afar");
    const missing = await fixture.daemon.podrt("run", `${server.url}other.yaml`);
    expect(missing).toMatchObject({ code: 1 });
    expect(missing.stderr).toContain("the server answered 404");
  } finally {
    await server.stop(true);
  }
});

test("the volumes of a kept pod are there again after a restart of the daemon", async () => {
  const { daemon } = fixture;
  const volumes = "{name: mem, emptyDir: {medium: Memory}}";
  const manifest = podOf("stays", "echo x > /mem/x; sleep 3600", "{name: mem, mountPath: /mem}", volumes);
  await daemon.podrtWith({ stdin: manifest }, "run", "--detach", "--wait", "60", "-");
  await daemon.kill();
  await daemon.start();
  await runningPod(daemon, "stays");
  expect((await daemon.podrt("exec", "stays/app", "--", "cat", "/mem/x")).stdout).toBe("x\n");
  expect((await daemon.podrt("rm", "-f", "stays")).code).toBe(0);
});

test("nothing of the host is had without the option that names it, and no link leads out of what is allowed", async () => {
  const { daemon } = fixture;
  const tree = mkdtempSync(join(tmpdir(), "podrt-tree-"));
  try {
    writeFileSync(join(tree, "file"), "of the tree");
    symlinkSync("/etc", join(tree, "link"));
    const reading = (path: string) =>
      podOf(
        "reads",
        "cat /x/file; ls /x | head -1",
        "{name: v, mountPath: /x, readOnly: true}",
        `{name: v, hostPath: {path: ${path}}}`,
      );
    const run = (manifest: string, ...options: string[]) =>
      daemon.podrtWith({ stdin: manifest }, "run", ...options, "-");
    const refused = await run(reading(tree));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      `stdin:6:33: spec.volumes[0].hostPath: needs --allow-host-path=${tree}:ro`,
    );
    expect((await daemon.pods.listPods({})).pods).toEqual([]);
    const allowed = await run(reading(tree), `--allow-host-path=${tree}:ro`);
    expect(allowed).toMatchObject({ code: 0 });
    expect(allowed.stdout).toContain("of the tree");
    const climbing = await run(reading(join(tree, "link")), "--detach", `--allow-host-path=${tree}:ro`);
    expect(climbing.code).toBe(0);
    const container = await eventually("it is refused", async () => {
      const [first] = (await keptPod(daemon, "reads")).containers;
      return first!.message === "" ? undefined : first;
    });
    expect(container.message).toContain("cannot be used");
    const { pod } = JSON.parse((await daemon.podrt("inspect", "reads")).stdout);
    expect(pod.permissions).toEqual([`host-path=${tree}:ro`]);
    expect((await daemon.podrt("rm", "-f", "reads")).code).toBe(0);
  } finally {
    rmSync(tree, { recursive: true });
  }
});

test("apply changes what a running pod's files show, and down removes all replicas", async () => {
  const { daemon } = fixture;
  const manifest = (greeting: string, replicas: number) =>
    `${OBJECTS.replace("hello", greeting)}apiVersion: apps/v1
kind: Deployment
metadata: {name: applied}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: applied}}
  template:
    metadata: {labels: {app: applied}}
    spec:
      terminationGracePeriodSeconds: 0
      volumes: [{name: m, configMap: {name: settings}}]
      containers: [{name: app, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: m, mountPath: /m}]}]
`;
  const apply = (text: string) => daemon.podrtWith({ stdin: text }, "apply", "-");
  expect((await apply(manifest("hello", 2))).stdout).toBe("applied-0 created\napplied-1 created\n");
  await runningPod(daemon, "applied-0");
  await runningPod(daemon, "applied-1");
  expect((await apply(manifest("hello", 2))).stdout).toBe("applied-0 unchanged\napplied-1 unchanged\n");
  const before = (await keptPod(daemon, "applied-0")).containers[0]!.containerId;
  expect((await apply(manifest("changed", 2))).stdout).toBe("applied-0 updated\napplied-1 updated\n");
  await eventually("the file shows it", async () => {
    const { stdout } = await daemon.podrt("exec", "applied-0/app", "--", "cat", "/m/greeting");
    return stdout === "changed";
  });
  expect((await keptPod(daemon, "applied-0")).containers[0]!.containerId).toBe(before);
  expect((await apply(manifest("changed", 3))).stdout).toEndWith("applied-1 unchanged\napplied-2 created\n");
  expect((await apply(manifest("changed", 2))).stdout).toBe(
    "applied-0 unchanged\napplied-1 unchanged\napplied-2 removed\n",
  );
  const down = await daemon.podrtWith({ stdin: manifest("hello", 1) }, "delete", "-f", "-");
  expect(down.stdout.split("\n").sort()).toEqual(["", "applied-0", "applied-1"]);
  expect((await daemon.pods.listPods({})).pods).toEqual([]);
});

test("a pod with a user namespace of its own is nobody on the machine, and its claim is the next one's", async () => {
  const volumes =
    "{name: disk, persistentVolumeClaim: {claimName: disk}}, {name: memory, emptyDir: {medium: Memory}}, {name: map, configMap: {name: settings}}";
  const mounts =
    "{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}, {name: map, mountPath: /map}";
  const script =
    "cat /proc/self/uid_map; id -u; echo hello >>/disk/owned; chown 33:33 /disk/owned; echo x >/memory/x; stat -c %u /disk/owned /memory/x /map/mode /etc/hosts; echo bye >/dev/termination-log";
  const withUsers = (name: string) =>
    (OBJECTS + podOf(name, script, mounts, volumes)).replace(
      "restartPolicy:",
      "hostUsers: false\n  restartPolicy:",
    );
  const firsts: string[] = [];
  const { daemon } = fixture;
  for (const name of ["mapped", "again"]) {
    const ran = await daemon.podrtWith({ stdin: withUsers(name) }, "run", "--detach", "-");
    expect(ran).toMatchObject({ code: 0 });
    const ended = await succeededPod(daemon, name);
    expect(ended.containers[0]!.message).toContain("bye");
    const [map, ...rest] = (await daemon.podrt("logs", `${name}/app`)).stdout.trim().split("\n");
    const [inside, first, length] = map!.trim().split(/ +/);
    expect([inside, length]).toEqual(["0", "65536"]);
    firsts.push(first!);
    expect(rest).toEqual(["0", "33", "0", "0", "0"]);
  }
  // Both are kept, so the second has other ids; what is in the claim has none of either.
  expect(new Set(firsts).size).toBe(2);
  const file = join(daemon.root, "lib/claims/default/disk/owned");
  expect(statSync(file).uid).toBe(33);
  expect(readFileSync(file, "utf8")).toBe("hello\nhello\n");
  for (const name of ["mapped", "again"]) expect((await daemon.podrt("rm", "-f", name)).code).toBe(0);
  expect((await daemon.podrt("volume", "rm", "disk")).code).toBe(0);
});
