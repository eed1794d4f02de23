// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ExecRequest } from "../gen/podrt/v1/podrt_pb.ts";
import { ContainerState, PodSandboxState } from "../gen/runtime/v1/api_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "./fake-daemon.ts";

const id = (digit: string) => digit.repeat(64);
const nowNs = () => BigInt(Date.now()) * 1_000_000n;

/** A kept pod `demo` with containers app1 and app2, and `other`, a pod of a kubelet. */
function populate(daemon: FakeDaemon): void {
  const createdAt = nowNs() - 185_000_000_000n;
  daemon.pods = [
    {
      name: { namespace: "default", name: "demo", uid: "u1" },
      phase: "Running",
      sandboxId: id("a"),
      addresses: ["10.85.0.2"],
      createdAtNs: createdAt,
      containers: [
        { name: "app1", image: "nginx", state: "running", containerId: id("b"), restarts: 2 },
        {
          name: "app2",
          image: "busybox",
          state: "waiting",
          reason: "ErrImagePull",
          message: "no such image",
        },
      ],
    },
  ];
  const sandbox = (digit: string, name: string, namespace: string, uid: string) => ({
    id: id(digit),
    metadata: { name, namespace, uid, attempt: 0 },
    state: PodSandboxState.SANDBOX_READY,
    createdAt,
  });
  daemon.sandboxes = [sandbox("a", "demo", "default", "u1"), sandbox("c", "other", "kube-system", "u2")];
  const container = (digit: string, pod: string, name: string, attempt: number, state: ContainerState) => ({
    id: id(digit),
    podSandboxId: id(pod),
    metadata: { name, attempt },
    image: { image: "sha256:1", userSpecifiedImage: "nginx" },
    state,
    createdAt: createdAt + BigInt(attempt) * 1_000_000_000n,
  });
  daemon.containers = [
    container("b", "a", "app1", 2, ContainerState.CONTAINER_RUNNING),
    container("d", "a", "app1", 1, ContainerState.CONTAINER_EXITED),
    container("e", "c", "etcd", 0, ContainerState.CONTAINER_RUNNING),
  ];
}

const statuses = {
  containerStatus: () => ({ info: { info: '{"pid": 4242}' } }),
  podSandboxStatus: () => ({ status: { network: { ip: "10.85.0.3" } }, info: { info: '{"pid": 4141}' } }),
};

describe("usage", () => {
  test.each([
    [[], "Usage: podrt"],
    [["pdos"], "podrt: unknown command 'pdos'\n(Did you mean pods?)"],
    [["pods", "--frobnicate"], "podrt: unknown option '--frobnicate'"],
    [["pods", "-o", "xml"], "Allowed choices are table, json"],
    [["stop"], "podrt: missing required argument 'pods'"],
    [["stop", "-t", "soon", "x"], "expected whole seconds"],
    [["exec", "x"], "podrt: missing required argument 'command'"],
    [["run", "f", "--wait", "3"], "podrt: --wait needs --detach"],
  ])("%p is refused with exit code 2", async (argv, message) => {
    const { exitCode, err } = await runCommand("/none", argv);
    expect(err).toContain(message);
    expect(exitCode).toBe(2);
  });

  test("help and version go to standard output", async () => {
    const help = await runCommand("/none", ["--help"]);
    for (const command of "serve pause run pods ps logs exec stop rm inspect images pull import".split(" ")) {
      expect(help.out).toContain(`\n  ${command} `);
    }
    expect(help).toMatchObject({ exitCode: 0, err: "" });
    expect((await runCommand("/none", ["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("without a daemon", () => {
  test("every command that needs one says so in one line", async () => {
    for (const argv of [
      ["pods"],
      ["ps"],
      ["images"],
      ["stop", "x"],
      ["pull", "x"],
      ["logs", "x"],
      ["exec", "x", "y"],
    ]) {
      expect(await runCommand("/tmp/podrt-none.sock", argv)).toEqual({
        exitCode: 1,
        out: "",
        err: "podrt: no daemon answers at /tmp/podrt-none.sock; start it with `podrt serve`\n",
      });
    }
  });

  test("--root names the socket of that instance, and --socket wins", async () => {
    expect((await runCommand("/x", ["pods", "--root", "/tmp/none"])).err).toContain(
      "/tmp/none/run/podrt.sock",
    );
    expect((await runCommand("/x", ["--root", "/tmp/none", "pods"])).err).toContain(
      "/tmp/none/run/podrt.sock",
    );
    expect((await runCommand("/x", ["pods", "--root", "/r", "--socket", "/tmp/s"])).err).toContain(
      "at /tmp/s;",
    );
  });

  test("version prints its own", async () => {
    const { exitCode, out } = await runCommand("/tmp/none.sock", ["version"]);
    expect(out).toMatch(/^podrt \d+\.\d+\.\d+\nno daemon answers at \/tmp\/none\.sock\n$/);
    expect(exitCode).toBe(0);
  });
});

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

describe("run", () => {
  test("prints what is wrong with a manifest, a line each", async () => {
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => {
          throw new ConnectError("pod.yaml:1:2: one\npod.yaml:3:4: two", Code.InvalidArgument);
        },
      },
    });
    const stdin = (async function* () {
      yield new TextEncoder().encode("kind: Pod");
    })();
    expect(await runCommand(daemon.socketPath, ["run", "-"], { stdin })).toEqual({
      exitCode: 1,
      out: "",
      err: "podrt: pod.yaml:1:2: one\npodrt: pod.yaml:3:4: two\n",
    });
  });

  test("says when the file cannot be read", async () => {
    const { exitCode, err } = await runCommand("/none", ["run", "/nonexistent/pod.yaml"]);
    expect(err).toStartWith("podrt: cannot read the manifest /nonexistent/pod.yaml: ENOENT");
    expect(exitCode).toBe(1);
  });

  test("shows the logs of all containers until Ctrl-C, then removes the pods", async () => {
    const logs = new Map<string, string>();
    const deleted: string[] = [];
    await using daemon = await startFakeDaemon({
      runtime: {
        ...statuses,
        containerStatus: ({ containerId }) => ({
          status: { id: containerId, logPath: logs.get(containerId)! },
        }),
      },
      pods: {
        runPod: () => ({ pods: [{ namespace: "default", name: "demo", uid: "u1" }] }),
        deletePod: ({ name }) => {
          deleted.push(name);
          return {};
        },
      },
    });
    populate(daemon);
    daemon.containers = [
      daemon.containers[0]!,
      { ...daemon.containers[0]!, id: id("9"), metadata: { name: "app2", attempt: 0 } },
    ];
    logs.set(id("b"), join(daemon.directory, "app1.log"));
    logs.set(id("9"), join(daemon.directory, "app2.log"));
    writeFileSync(logs.get(id("b"))!, "2026-01-01T00:00:00.000000001Z stdout F hello\n");
    writeFileSync(logs.get(id("9"))!, "2026-01-01T00:00:00.000000001Z stderr P par");
    const manifest = join(daemon.directory, "pod.yaml");
    writeFileSync(manifest, "kind: Pod\n");
    const interrupt = new AbortController();
    const outcome = await runCommand(daemon.socketPath, ["run", manifest], {
      interrupted: interrupt.signal,
      onOut(text) {
        if (text.includes("hello")) {
          appendFileSync(logs.get(id("9"))!, "t\n2026-01-01T00:00:00.000000002Z stderr F ial\n");
        } else if (text.includes("ial")) interrupt.abort();
      },
    });
    expect(outcome.out).toBe("app1 | hello\n");
    expect(outcome.err).toBe("podrt: demo/app2: ErrImagePull: no such image\napp2 | partial\n");
    expect(outcome.exitCode).toBe(0);
    expect(deleted).toEqual(["demo"]);
  });

  test("ends by itself with 1 when a pod failed", async () => {
    await using daemon = await startFakeDaemon({
      pods: {
        runPod: () => ({ pods: [{ namespace: "default", name: "demo", uid: "u1" }] }),
        deletePod: () => ({}),
      },
    });
    daemon.pods = [
      {
        name: { namespace: "default", name: "demo", uid: "u1" },
        phase: "Failed",
        containers: [{ name: "job", state: "terminated", reason: "Error", exitCode: 3 }],
      },
    ];
    const manifest = join(daemon.directory, "pod.yaml");
    writeFileSync(manifest, "kind: Pod\n");
    const { exitCode, err } = await runCommand(daemon.socketPath, ["run", manifest]);
    expect(err).toBe("podrt: pod demo failed: container job ended with exit code 3\n");
    expect(exitCode).toBe(1);
  });
});

describe("logs", () => {
  const LOG = [
    "2026-01-01T00:00:01Z stdout F one",
    "2026-01-01T00:00:02Z stdout P tw",
    "2026-01-01T00:00:02Z stdout F o",
    "not a line of a log",
    "2026-01-01T00:00:03Z stderr F three",
    "2026-01-01T00:00:04Z stdout P end",
    "",
  ].join("\n");

  async function daemonWithLog(): Promise<FakeDaemon> {
    const daemon = await startFakeDaemon({
      runtime: { containerStatus: () => ({ status: { id: "x", logPath: join(daemon.directory, "log") } }) },
    });
    populate(daemon);
    writeFileSync(join(daemon.directory, "log"), LOG);
    return daemon;
  }

  test("go to the stream they were written to, parts of lines joined", async () => {
    await using daemon = await daemonWithLog();
    expect(await runCommand(daemon.socketPath, ["logs", "app1"])).toEqual({
      exitCode: 0,
      out: "one\ntwo\nend",
      err: "three\n",
    });
  });

  test("begin with the last lines under --tail", async () => {
    await using daemon = await daemonWithLog();
    const { out, err } = await runCommand(daemon.socketPath, [
      "logs",
      "demo/app1",
      "--tail",
      "3",
      "--timestamps",
    ]);
    expect(out + err).toBe("2026-01-01T00:00:02Z two\n2026-01-01T00:00:04Z end2026-01-01T00:00:03Z three\n");
  });

  test("are followed through a rename until the container ends", async () => {
    await using daemon = await daemonWithLog();
    const path = join(daemon.directory, "log");
    let step = 0;
    const { out } = await runCommand(daemon.socketPath, ["logs", "-f", "app1"], {
      onOut(text) {
        if (text.includes("end") && step++ === 0) {
          appendFileSync(path, "2026-01-01T00:00:05Z stdout F ing\n");
          renameSync(path, `${path}.1`);
          writeFileSync(path, "2026-01-01T00:00:06Z stdout F renamed\n");
        } else if (text.includes("renamed")) {
          daemon.containers[0]!.state = ContainerState.CONTAINER_EXITED;
          appendFileSync(path, "2026-01-01T00:00:07Z stdout F last words\n");
        }
      },
    });
    expect(out).toBe("one\ntwo\nending\nrenamed\nlast words\n");
  });
});

describe("exec", () => {
  async function* echo(requests: AsyncIterable<ExecRequest>) {
    for await (const { message } of requests) {
      if (message.case === "start") {
        const { command, tty, stdin, size } = message.value;
        const said = `${command.join(" ")} tty=${tty} stdin=${stdin} size=${size?.width ?? 0}\n`;
        yield { message: { case: "stdout" as const, value: new TextEncoder().encode(said) } };
        if (!stdin) break;
      }
      if (message.case === "stdin") yield { message: { case: "stderr" as const, value: message.value } };
      if (message.case === "stdinClosed") break;
    }
    yield { message: { case: "exitCode" as const, value: 42 } };
  }

  test("passes streams through and answers the command's exit code", async () => {
    await using daemon = await startFakeDaemon({ pods: { exec: echo } });
    populate(daemon);
    const stdin = (async function* () {
      for (const part of ["a".repeat(200_000), "b"]) yield new TextEncoder().encode(part);
    })();
    expect(
      await runCommand(daemon.socketPath, ["exec", "-i", "demo/app1", "--", "cat", "-n"], { stdin }),
    ).toEqual({
      exitCode: 42,
      out: "cat -n tty=false stdin=true size=0\n",
      err: `${"a".repeat(200_000)}b`,
    });
  });

  test("takes options of the command for the command's", async () => {
    await using daemon = await startFakeDaemon({ pods: { exec: echo } });
    populate(daemon);
    const { out } = await runCommand(daemon.socketPath, ["exec", "app1", "ls", "-it", "--help"]);
    expect(out).toBe("ls -it --help tty=false stdin=false size=0\n");
  });

  test("puts the terminal into raw mode and back, also when it fails", async () => {
    const modes: boolean[] = [];
    const terminal = {
      size: () => ({ width: 80, height: 24 }),
      onResize: () => () => {},
      setRaw: (isRaw: boolean) => void modes.push(isRaw),
    };
    await using daemon = await startFakeDaemon({ pods: { exec: echo } });
    populate(daemon);
    const { out } = await runCommand(daemon.socketPath, ["exec", "-it", "app1", "sh"], { terminal });
    expect(out).toBe("sh tty=true stdin=true size=80\n");
    expect(modes).toEqual([true, false]);
    await using broken = await startFakeDaemon({
      pods: {
        // biome-ignore lint/correctness/useYield: it fails before it says anything.
        async *exec() {
          throw new ConnectError("container app1 does not run", Code.FailedPrecondition);
        },
      },
    });
    populate(broken);
    const failed = await runCommand(broken.socketPath, ["exec", "-it", "app1", "sh"], { terminal });
    expect(failed).toMatchObject({ exitCode: 1, err: "podrt: container app1 does not run\n" });
    expect(modes).toEqual([true, false, true, false]);
  });

  test("attach is left with Ctrl-P Ctrl-Q", async () => {
    await using daemon = await startFakeDaemon({
      runtime: { containerStatus: () => ({ info: { info: '{"config": {"tty": true, "stdin": true}}' } }) },
      pods: {
        async *attach(requests) {
          for await (const { message } of requests) {
            if (message.case === "stdin")
              yield { message: { case: "stdout" as const, value: message.value } };
          }
        },
      },
    });
    populate(daemon);
    const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    const { promise, resolve } = Promise.withResolvers<void>();
    const stdin = (async function* () {
      yield new TextEncoder().encode("hi");
      await promise;
      yield new Uint8Array([0x10, 0x11]);
      await new Promise(() => {});
    })();
    const outcome = await runCommand(daemon.socketPath, ["attach", "app1"], {
      terminal,
      stdin,
      onOut: () => resolve(),
    });
    expect(outcome).toMatchObject({ exitCode: 0, out: "hi" });
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
