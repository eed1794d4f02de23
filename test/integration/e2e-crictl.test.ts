// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, demoPod, pageOf, runDetached, runningPod } from "./harness/manifests.ts";
import { namespaceOf, parentOf, procText } from "./harness/proc.ts";

const fixture = useDaemon();

interface Listed {
  readonly id: string;
  readonly podSandboxId?: string;
  readonly state: string;
  readonly metadata: { readonly name: string };
}

async function json<T>(...args: readonly string[]): Promise<T> {
  return JSON.parse(await fixture.daemon.crictl(...args)) as T;
}

async function demo() {
  return await runningPod(fixture.daemon, "demo-pod");
}

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl", () => {
  test("version and info", async () => {
    await runDetached(fixture.daemon, demoPod);
    await demo();
    const version = await fixture.daemon.crictl("version");
    expect(version).toMatch(/RuntimeName:\s+podrt/);
    expect(version).toMatch(/RuntimeApiVersion:\s+v1\b/);
    const info = await json<{ status: { conditions: { type: string; status: boolean }[] }; config: object }>(
      "info",
    );
    expect(info.status.conditions).toContainEqual(
      expect.objectContaining({ type: "RuntimeReady", status: true }),
    );
    expect(info.status.conditions).toContainEqual(
      expect.objectContaining({ type: "NetworkReady", status: true }),
    );
    expect(info.config).toBeInstanceOf(Object);
  });

  test("pods", async () => {
    const pod = await demo();
    const { items } = await json<{ items: Listed[] }>("pods", "-o", "json");
    expect(items).toMatchObject([
      { id: pod.sandboxId, state: "SANDBOX_READY", metadata: { name: "demo-pod" } },
    ]);
    const table = await fixture.daemon.crictl("pods");
    expect(table).toMatch(new RegExp(`${pod.sandboxId.slice(0, 13)}.*Ready\\s+demo-pod\\s+default`));
    expect(await json<{ items: Listed[] }>("pods", "-o", "json", "--name", "nothing")).toEqual({
      items: [],
    } as never);
  });

  test("ps, whose POD ID is the sandbox's", async () => {
    const pod = await demo();
    const { containers } = await json<{ containers: Listed[] }>("ps", "-o", "json");
    expect(containers.map(({ metadata }) => metadata.name).sort()).toEqual(["app1", "app2"]);
    expect(containers.map(({ podSandboxId }) => podSandboxId)).toEqual([pod.sandboxId, pod.sandboxId]);
    const rows = (await fixture.daemon.crictl("ps")).trim().split("\n");
    expect(rows[0]).toMatch(/CONTAINER\s+IMAGE\s+CREATED\s+STATE\s+NAME\s+ATTEMPT\s+POD ID/);
    for (const row of rows.slice(1)) expect(row).toContain(pod.sandboxId.slice(0, 13));
  });

  test("inspect: sandbox id, pid, namespaces and runtime spec", async () => {
    const pod = await demo();
    const { containerId } = containerOf(pod, "app1");
    const { status, info } = await json<{
      status: { id: string; state: string; image: { image: string } };
      info: {
        sandboxID: string;
        pid: number;
        runtimeSpec: { process: { args: string[] }; linux: SpecLinux };
      };
    }>("inspect", containerId);
    expect(status).toMatchObject({ id: containerId, state: "CONTAINER_RUNNING" });
    expect(info.sandboxID).toBe(pod.sandboxId);
    expect(procText(`/proc/${info.pid}/cmdline`)).toStartWith("nginx: master process");
    expect(info.runtimeSpec.process.args).toEqual(["nginx", "-g", "daemon off;"]);
    const types = info.runtimeSpec.linux.namespaces.map(({ type }) => type).sort();
    expect(types).toEqual(["cgroup", "ipc", "mount", "network", "pid", "uts"]);
  });

  interface SpecLinux {
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[];
  }

  test("inspectp: address, path of the network namespace, pid of the pause", async () => {
    const pod = await demo();
    const { status, info } = await json<{
      status: { network: { ip: string }; state: string };
      info: {
        pid: number;
        netNamespacePath: string;
        runtimeSpec: { linux: { namespaces: { type: string; path: string }[] } };
      };
    }>("inspectp", pod.sandboxId);
    expect(status).toMatchObject({ state: "SANDBOX_READY", network: { ip: pod.addresses[0] } });
    expect(procText(`/proc/${info.pid}/cmdline`)).toBe("/pause\0");
    const netns = info.netNamespacePath;
    const { namespaces } = info.runtimeSpec.linux;
    expect(namespaces.find(({ type }) => type === "network")?.path).toBe(netns);
    expect(namespaces.map(({ type }) => type).sort()).toEqual(["ipc", "mount", "network", "pid", "uts"]);
    const inside = await fixture.daemon.crictl(
      "exec",
      "-s",
      containerOf(pod, "app2").containerId,
      "ip",
      "addr",
    );
    const entered = Bun.spawnSync([
      "nsenter",
      `--net=${netns}`,
      "ip",
      "-4",
      "addr",
      "show",
      "eth0",
    ]).stdout.toString();
    expect(inside).toContain(`inet ${pod.addresses[0]}/`);
    expect(entered).toContain(`inet ${pod.addresses[0]}/`);
    expect(namespaceOf(info.pid, "net")).not.toBe(namespaceOf(parentOf(info.pid), "net"));
  });

  test("images, pull, inspecti and rmi", async () => {
    const name = "gcr.io/k8s-staging-cri-tools/test-image-tags";
    const { images } = await json<{ images: { repoTags: string[] }[] }>("images", "-o", "json");
    const tags = images.flatMap(({ repoTags }) => repoTags);
    expect(tags).toContain("docker.io/library/nginx:latest");
    expect(tags).toContain("docker.io/library/busybox:latest");
    expect(await fixture.daemon.crictl("pull", `${name}:1`)).toContain("Image is up to date for");
    await fixture.daemon.crictl("pull", `${name}:2`);
    const { status } = await json<{ status: { id: string; repoTags: string[]; size: string } }>(
      "inspecti",
      `${name}:1`,
    );
    expect(status.repoTags.toSorted()).toEqual([`${name}:1`, `${name}:2`]);
    expect(Number(status.size)).toBeGreaterThan(100_000);
    expect(await fixture.daemon.crictl("images", "-q", "--no-trunc")).toContain(status.id);
    await fixture.daemon.crictl("rmi", `${name}:2`);
    expect((await fixture.daemon.crictlResult("inspecti", `${name}:1`)).code).not.toBe(0);
  });

  test("exec -s: output, exit code, and a command that is not there", async () => {
    const pod = await demo();
    await pageOf(pod);
    const { containerId } = containerOf(pod, "app2");
    const page = await fixture.daemon.crictl("exec", "-s", containerId, "wget", "-qO-", "http://localhost");
    expect(page).toContain("Welcome to nginx!");
    const failed = await fixture.daemon.crictlResult(
      "exec",
      "-s",
      containerId,
      "sh",
      "-c",
      "echo no >&2; exit 3",
    );
    expect(failed.stderr + failed.stdout).toMatch(/exited with 3: no/);
    expect(failed.code).not.toBe(0);
    const missing = await fixture.daemon.crictlResult("exec", "-s", containerId, "/no/such");
    expect(missing.stderr + missing.stdout).toMatch(/exited with 127: .*execute \/no\/such: ENOENT/);
  });

  test("logs", async () => {
    const pod = await demo();
    await pageOf(pod, "/?asked-for");
    const { containerId } = containerOf(pod, "app1");
    await eventually("the request is in the log", async () =>
      (await fixture.daemon.crictl("logs", containerId)).includes("GET /?asked-for"),
    );
    const last = await fixture.daemon.crictl("logs", "--tail", "1", "--timestamps", containerId);
    expect(last).toMatch(/^\d{4}-\d\d-\d\dT[^ ]+ .*GET \/\?asked-for/);
  });

  test("runp, create, start, stop, rm, stopp and rmp drive a pod of crictl's own", async () => {
    const { daemon } = fixture;
    const dir = join(daemon.root, "crictl");
    mkdirSync(join(dir, "logs"), { recursive: true });
    const file = (name: string, content: object) => {
      writeFileSync(join(dir, name), JSON.stringify(content));
      return join(dir, name);
    };
    const podFile = file("pod.json", {
      metadata: { name: "by-hand", namespace: "default", uid: "by-hand-uid" },
      log_directory: join(dir, "logs"),
    });
    const containerFile = file("container.json", {
      metadata: { name: "app" },
      image: { image: "busybox" },
      command: ["sh", "-c", "echo started; exec sleep 3600"],
      log_path: "app.log",
    });
    const podId = (await daemon.crictl("runp", podFile)).trim();
    const id = (await daemon.crictl("create", podId, containerFile, podFile)).trim();
    await daemon.crictl("start", id);
    await eventually("the log is written", async () => (await daemon.crictl("logs", id)) === "started\n");
    const { containers } = await json<{ containers: Listed[] }>("ps", "-o", "json", "--pod", podId);
    expect(containers).toMatchObject([{ id, podSandboxId: podId, state: "CONTAINER_RUNNING" }]);
    await daemon.crictl("stop", "--timeout", "0", id);
    expect(
      (await json<{ containers: Listed[] }>("ps", "-a", "-o", "json", "--pod", podId)).containers,
    ).toMatchObject([{ id, state: "CONTAINER_EXITED" }]);
    await daemon.crictl("rm", id);
    expect(await daemon.crictl("stopp", podId)).toContain(podId);
    expect(await json<{ items: Listed[] }>("pods", "-o", "json", "--id", podId)).toMatchObject({
      items: [{ id: podId, state: "SANDBOX_NOTREADY" }],
    });
    expect(await daemon.crictl("rmp", podId)).toContain(podId);
    expect((await daemon.crictlResult("inspectp", podId)).stderr).toMatch(/code = NotFound/);
  });

  test("an id may be shortened, and what is not there is not found", async () => {
    const pod = await demo();
    const { status } = await json<{ status: { id: string } }>("inspectp", pod.sandboxId.slice(0, 13));
    expect(status.id).toBe(pod.sandboxId);
    const missing = await fixture.daemon.crictlResult("inspect", "feedfacefeedface");
    expect(missing.code).not.toBe(0);
    expect(missing.stderr).toMatch(/code = NotFound/);
  });

  test("stopp and rmp of the kept pod are answered, and the pod comes back", async () => {
    const pod = await demo();
    await fixture.daemon.crictl("stopp", pod.sandboxId);
    const again = await eventually(
      "the pod has a new sandbox",
      async () => {
        const now = await runningPod(fixture.daemon, "demo-pod", 1);
        return now.sandboxId === pod.sandboxId ? undefined : now;
      },
      20_000,
    );
    expect(again.addresses).toHaveLength(1);
  });
});
