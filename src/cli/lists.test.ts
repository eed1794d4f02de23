// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { id, populate, statuses } from "./fake-pods.ts";

describe("lists", () => {
  test("pods of podrt and of others are one table, aligned", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const { out } = await runCommand(daemon.socketPath, ["pods"]);
    expect(out).toBe(
      [
        "NAME    NAMESPACE     READY   STATUS         RESTARTS   IP          AGE   ID",
        "demo    default       1/2     ErrImagePull   2          10.85.0.2   3m    aaaaaaaaaaaaa",
        "other   kube-system   1/1     Ready          0          10.85.0.3   3m    ccccccccccccc",
        "",
      ].join("\n"),
    );
  });

  test("pods as JSON say why", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const { out } = await runCommand(daemon.socketPath, ["pods", "-o", "json"]);
    expect(JSON.parse(out)[0]).toMatchObject({ name: "demo", id: id("a"), message: "app2: no such image" });
  });

  test("a pod that is not past its init containers says how far it is, and a container that it is not ready", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const app = { name: "app1", state: "waiting", reason: "PodInitializing" };
    const done = { name: "one", state: "terminated", ready: true };
    const pod = { ...daemon.pods[0], containers: [app] };
    const status = async (...initContainers: object[]) => {
      daemon.pods = [{ ...pod, initContainers }];
      return JSON.parse((await runCommand(daemon.socketPath, ["pods", "-o", "json"])).out)[0] as object;
    };
    const proxy = { name: "proxy", state: "running", ready: true, sidecar: true };
    expect(await status(done, proxy, { name: "two", state: "running" })).toMatchObject({
      status: "Init:2/3",
      ready: "1/2",
    });
    const amiss = { name: "two", state: "waiting", reason: "ErrImagePull", message: "no such image" };
    expect(await status(done, amiss)).toMatchObject({
      status: "Init:ErrImagePull",
      message: "two: no such image",
    });
    daemon.pods = [{ ...pod, containers: [{ name: "app1", state: "running" }] }];
    expect((await runCommand(daemon.socketPath, ["ps"])).out).toContain("Running (not ready)");
  });

  test("containers that run, and with -a all and the pauses", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const running = await runCommand(daemon.socketPath, ["ps"]);
    expect(running.out.split("\n").slice(0, 3)).toEqual([
      "ID              NAME   POD                 IMAGE   STATE     RESTARTS   PID    AGE",
      "bbbbbbbbbbbbb   app1   demo                nginx   Running   2          4242   3m",
      "eeeeeeeeeeeee   etcd   kube-system/other   nginx   Running   0          4242   3m",
    ]);
    const all = await runCommand(daemon.socketPath, ["ps", "-a"]);
    expect(all.out).toMatch(/aaaaaaaaaaaaa +POD-demo +demo +\(pause\) +Running +0 +4141/);
    expect(all.out).toMatch(/ddddddddddddd +app1 +demo +nginx +Exited +1 +- /);
  });

  test("colours are for terminals, and not with NO_COLOR", async () => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    expect((await runCommand(daemon.socketPath, ["pods"], { terminal })).out).toContain(
      "\u001b[31mErrImagePull",
    );
    const plain = await runCommand(daemon.socketPath, ["pods"], { terminal, env: { NO_COLOR: "1" } });
    expect(plain.out).not.toContain("\u001b");
  });

  test.each([
    [{}, [], false],
    [{ CLICOLOR_FORCE: "1" }, [], true],
    [{ CLICOLOR_FORCE: "0" }, [], false],
    [{ CLICOLOR_FORCE: "1", NO_COLOR: "1" }, [], false],
    [{ NO_COLOR: "1" }, ["--color", "always"], true],
    [{ CLICOLOR_FORCE: "1" }, ["--color=never"], false],
    [{ CLICOLOR_FORCE: "1" }, ["--color=auto"], true],
  ])("colours elsewhere: %p %p", async (env, options, expected) => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    for (const argv of [
      ["pods", ...options],
      [...options, "pods"],
    ]) {
      const { out, err } = await runCommand(daemon.socketPath, argv, { env });
      expect({ err, colored: out.includes("\u001b") }).toEqual({ err: "", colored: expected });
    }
  });

  test.each([
    [{ TERM: "xterm" }, true],
    [{ TERM: "dumb" }, false],
    [{ CLICOLOR: "0" }, false],
    [{ NO_COLOR: "" }, true],
  ])("colours on a terminal: %p", async (env, expected) => {
    await using daemon = await startFakeDaemon({ runtime: statuses });
    populate(daemon);
    const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    expect((await runCommand(daemon.socketPath, ["pods"], { terminal, env })).out.includes("\u001b")).toBe(
      expected,
    );
  });
});

describe("names", () => {
  const stopped: string[] = [];
  const services = {
    runtime: {
      ...statuses,
      stopContainer: () => ({}),
      stopPodSandbox: ({ podSandboxId }: { podSandboxId: string }) => {
        stopped.push(podSandboxId);
        return {};
      },
    },
    pods: {
      stopPod: ({ name, graceSeconds }: { name: string; graceSeconds?: number | undefined }) => {
        stopped.push(`${name} ${graceSeconds}`);
        return {};
      },
    },
  };

  test("stop goes to the keeper for its pods and to the runtime for others", async () => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    expect((await runCommand(daemon.socketPath, ["stop", "demo", "-t", "3"])).out).toBe("demo\n");
    expect((await runCommand(daemon.socketPath, ["stop", "ccc"])).out).toBe("kube-system/other\n");
    expect(stopped).toEqual(["demo 3", id("c")]);
  });

  test("none is stopped when one is unknown", async () => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    stopped.length = 0;
    const { exitCode, err } = await runCommand(daemon.socketPath, ["stop", "demo", "nobody"]);
    expect(err).toBe("podrt: there is no pod nobody; `podrt pods` lists them\n");
    expect(exitCode).toBe(1);
    expect(stopped).toEqual([]);
  });

  test("a running pod is not removed without -f", async () => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    expect((await runCommand(daemon.socketPath, ["rm", "demo"])).err).toBe(
      "podrt: pod demo runs; stop it first, or use rm -f\n",
    );
  });

  test("an ambiguous name lists what it could be", async () => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    daemon.containers.push({ ...daemon.containers[2]!, id: id("f"), podSandboxId: id("a") });
    const { exitCode, err } = await runCommand(daemon.socketPath, ["exec", "etcd", "ls"]);
    expect(err).toBe("podrt: etcd could be demo/etcd, kube-system/other/etcd\n");
    expect(exitCode).toBe(1);
  });
});

describe("images", () => {
  test("are listed by name", async () => {
    await using daemon = await startFakeDaemon({
      images: {
        listImages: () => ({
          images: [
            {
              id: `sha256:${id("1")}`,
              repoTags: ["docker.io/library/nginx:latest", "x:5000/n:1"],
              size: 141_234_567n,
            },
            { id: `sha256:${id("2")}`, repoDigests: ["docker.io/library/busybox@sha256:3"], size: 999n },
          ],
        }),
      },
    });
    expect((await runCommand(daemon.socketPath, ["images"])).out.split("\n")).toEqual([
      "REPOSITORY                  TAG      IMAGE ID        SIZE",
      "docker.io/library/nginx     latest   1111111111111   141MB",
      "x:5000/n                    1        1111111111111   141MB",
      "docker.io/library/busybox   <none>   2222222222222   999B",
      "",
    ]);
  });

  test("a pull shows its steps and prints what it stored", async () => {
    await using daemon = await startFakeDaemon({
      pods: {
        async *pull() {
          yield { step: "resolving" };
          yield { step: "fetching 0/2 layers", doneBytes: 5n, totalBytes: 10n };
          yield { image: { id: `sha256:${id("1")}`, reference: "docker.io/library/nginx:latest" } };
        },
      },
    });
    expect(await runCommand(daemon.socketPath, ["pull", "nginx"])).toEqual({
      exitCode: 0,
      out: "docker.io/library/nginx:latest 1111111111111\n",
      err: "resolving\nfetching 0/2 layers\n",
    });
  });
});
