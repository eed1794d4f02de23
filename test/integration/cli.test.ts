// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { O_DIRECTORY, O_NONBLOCK, O_PATH } from "../../src/linux/abi/fcntl.ts";
import { open } from "../../src/linux/fd.ts";
import { openTerminalIn, resizeTerminal, type Terminal } from "../../src/linux/pty.ts";
import { isErrno, syscall } from "../../src/linux/syscall.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerOf, keptPod, runningPod } from "./harness/manifests.ts";

const fixture = useDaemon({ config: "[pods]\nrestart_backoff_ms = 20\nrestart_backoff_max_ms = 50\n" });

function podText(name: string, spec: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec:\n  ${spec.trim().replaceAll("\n", "\n  ")}\n`;
}

async function start(name: string, spec: string): Promise<void> {
  const { code, stderr } = await fixture.daemon.podrtWith(
    { stdin: podText(name, spec) },
    ...["run", "--detach", "--wait", "20", "-A", "-"],
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
}

const sleeper =
  "terminationGracePeriodSeconds: 0\ncontainers: [{name: app, image: busybox, command: [sleep, '3600']}]";

afterEach(async () => {
  for (const { name } of (await fixture.daemon.pods.listPods({})).pods) {
    await fixture.daemon.pods.deletePod({ namespace: name!.namespace, name: name!.name, graceSeconds: 0 });
  }
});

/** A command on a terminal of its own, as a person would have it. */
class Session {
  readonly terminal: Terminal;
  readonly child: ChildProcess;
  readonly exited: Promise<number>;
  output = "";

  constructor(...args: string[]) {
    using root = open("/", O_PATH | O_DIRECTORY);
    this.terminal = openTerminalIn(root.number, { uid: 0, ttyGroup: 5, root: { uid: 0, gid: 0 } });
    const { master, slave } = this.terminal;
    resizeTerminal(master, 100, 30);
    syscall("fcntl", master.number, F_SETFL, O_NONBLOCK);
    const command = [binary, args[0]!, "--root", fixture.daemon.root, ...args.slice(1)];
    // setsid becomes the command, on its controlling terminal; else the kernel would tell nobody of its size and Ctrl-C.
    this.child = spawn("setsid", ["--ctty", ...command], {
      stdio: [slave.number, slave.number, slave.number],
    });
    this.exited = new Promise((resolve) => this.child.once("exit", (code) => resolve(code ?? -1)));
  }

  read(): string {
    const buffer = new Uint8Array(65_536);
    try {
      const length = syscall("read", this.terminal.master.number, buffer, buffer.length);
      this.output += new TextDecoder().decode(buffer.subarray(0, length));
    } catch (error) {
      if (!isErrno(error, "EAGAIN") && !isErrno(error, "EIO")) throw error;
    }
    return this.output;
  }

  async shows(text: string | RegExp): Promise<void> {
    await eventually(`the terminal shows ${text}`, async () => {
      const output = this.read();
      if (typeof text === "string" ? output.includes(text) : text.test(output)) return true;
      throw new Error(JSON.stringify(output));
    });
    this.output = "";
  }

  type(text: string): void {
    const bytes = new TextEncoder().encode(text);
    syscall("write", this.terminal.master.number, bytes, bytes.length);
  }

  /** The local modes, among them ICANON, ECHO and ISIG: all off in raw mode (termios(3)). */
  modes(): number {
    const termios = new Uint8Array(60);
    syscall("ioctl", this.terminal.slave.number, TCGETS, termios);
    return new DataView(termios.buffer).getUint32(12, true) & (ISIG | ICANON | ECHO);
  }

  [Symbol.dispose](): void {
    this.child.kill("SIGKILL");
    this.terminal.master.close();
    this.terminal.slave.close();
  }
}

const F_SETFL = 4;
const TCGETS = 0x5401;
const ISIG = 1;
const ICANON = 2;
const ECHO = 8;

describe("exec with a terminal", () => {
  test("has its size, follows its changes, passes Ctrl-C on and restores it", async () => {
    await start("shell", sleeper);
    using session = new Session("exec", "-it", "shell/app", "--", "sh");
    const before = session.modes();
    expect(before).not.toBe(0);
    await session.shows("# ");
    expect(session.modes()).toBe(0);
    session.type("stty size\n");
    await session.shows("30 100");
    resizeTerminal(session.terminal.master, 120, 40);
    await Bun.sleep(300);
    session.type("stty size\n");
    await session.shows("40 120");
    session.type("sleep 1000\n");
    await Bun.sleep(300);
    session.type("\u0003");
    session.type("echo still $((6 * 7))\n");
    await session.shows("still 42");
    session.type("exit 9\n");
    expect(await session.exited).toBe(9);
    expect(session.modes()).toBe(before);
  });

  test("restores it when it is ended by a signal, and ends the command", async () => {
    await start("shell", sleeper);
    using session = new Session("exec", "-it", "shell/app", "--", "sh", "-c", "echo begun; exec sleep 4321");
    const before = session.modes();
    await session.shows("begun");
    expect(session.modes()).toBe(0);
    session.child.kill("SIGTERM");
    expect(await session.exited).toBe(130);
    expect(session.modes()).toBe(before);
    await eventually("the command is gone", async () => {
      const { stdout } = await fixture.daemon.podrt("exec", "shell/app", "--", "ps", "ax");
      return !stdout.includes("4321");
    });
  });
});

describe("attach", () => {
  test("joins the container's terminal, and Ctrl-P Ctrl-Q leaves it running", async () => {
    await start("shell", "containers: [{name: sh, image: busybox, command: [sh], stdin: true, tty: true}]");
    const id = containerOf(await keptPod(fixture.daemon, "shell"), "sh").containerId;
    using session = new Session("attach", "shell/sh");
    await eventually("raw mode", () => session.modes() === 0);
    session.type("echo attached $((6 * 7)); stty size\n");
    await session.shows("attached 42");
    session.type("\u0010\u0011");
    expect(await session.exited).toBe(0);
    expect(session.modes()).not.toBe(0);
    const pod = await runningPod(fixture.daemon, "shell");
    expect(containerOf(pod, "sh")).toMatchObject({ containerId: id, restarts: 0 });
    expect((await fixture.daemon.podrt("logs", "shell/sh")).stdout).toContain("attached 42");
  });
});

/** A command that goes on by itself, with what it has printed so far. */
function follow(...args: string[]) {
  const child = spawn(binary, [args[0]!, "--root", fixture.daemon.root, ...args.slice(1)]);
  const text = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text.out += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    text.err += chunk;
  });
  const exited = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? -1)));
  const prints = (part: string) => eventually(`it prints ${part}`, () => text.out.includes(part), 20_000);
  return { child, text, exited, prints, [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

describe("logs", () => {
  test("of a pod are followed across restarts and until it is removed", async () => {
    const script = "echo begun; while [ ! -e /stop/now ]; do sleep 0.05; done; rm /stop/now; echo over";
    await start(
      "followed",
      `volumes: [{name: stop, emptyDir: {}}]
containers:
- {name: app, image: busybox, command: [sh, -c, "${script}"], volumeMounts: [{name: stop, mountPath: /stop}]}
- {name: other, image: busybox, command: [sleep, '3600']}`,
    );
    using logs = follow("logs", "-f", "followed");
    await logs.prints("app   | begun\n");
    expect((await fixture.daemon.podrt("exec", "followed/app", "--", "touch", "/stop/now")).code).toBe(0);
    await logs.prints("app   | begun\napp   | over\napp   | begun\n");
    await fixture.daemon.podrt("rm", "-f", "followed");
    expect(await logs.exited).toBe(0);
    expect(logs.text.err).toBe("");
  });

  test("are set aside at ten megabytes while the container goes on", async () => {
    await start(
      "talker",
      "containers: [{name: app, image: busybox, command: [sh, -c, 'yes | head -c 12000000; while :; do echo later; sleep 1; done']}]",
    );
    const { name } = await keptPod(fixture.daemon, "talker");
    const directory = join(fixture.daemon.root, "lib/logs", `default_talker_${name!.uid}`, "app");
    const files = await eventually(
      "the log is set aside",
      () => {
        const found = readdirSync(directory).toSorted();
        return found.length > 1 ? found : undefined;
      },
      30_000,
    );
    // It writes more than twenty megabytes in no time.
    const [current, ...aside] = files;
    expect(current).toBe("0.log");
    for (const name of aside) expect(name).toMatch(/^0\.log\.\d{8}T\d{9}Z$/);
    await eventually("it goes on in the new file", async () => {
      const { stdout } = await fixture.daemon.podrt("logs", "talker/app");
      return stdout.startsWith("later\n");
    });
  }, 60_000);
});

describe("run", () => {
  test("goes on while the daemon is restarted", async () => {
    const manifest = podText(
      "steady",
      "terminationGracePeriodSeconds: 0\ncontainers: [{name: app, image: busybox, command: [sh, -c, 'n=0; while :; do echo $n; n=$((n+1)); sleep 0.1; done']}]",
    );
    using run = follow("run", "-");
    run.child.stdin.end(manifest);
    await run.prints("app | 3\n");
    await fixture.daemon.kill();
    await Bun.sleep(500);
    await fixture.daemon.start();
    const seen = run.text.out.length;
    await eventually("more of the log", () => run.text.out.length > seen + 20, 20_000);
    run.child.kill("SIGINT");
    expect(await run.exited).toBe(0);
    const numbers = run.text.out
      .trim()
      .split("\n")
      .map((line) => Number(line.replace("app | ", "")));
    expect(numbers).toEqual(numbers.map((_, index) => index));
    expect((await fixture.daemon.pods.listPods({})).pods).toEqual([]);
  });

  test("kills what does not stop at the second Ctrl-C", async () => {
    using run = follow("run", "-");
    run.child.stdin.end(
      podText(
        "stubborn",
        "terminationGracePeriodSeconds: 600\ncontainers: [{name: app, image: busybox, command: [sh, -c, 'trap : TERM; echo up; while :; do sleep 0.1; done']}]",
      ),
    );
    await run.prints("up\n");
    run.child.kill("SIGINT");
    await eventually(
      "it is being removed",
      async () => (await keptPod(fixture.daemon, "stubborn")).phase === "Deleting",
    );
    run.child.kill("SIGINT");
    expect(await run.exited).toBe(0);
    expect((await fixture.daemon.pods.listPods({})).pods).toEqual([]);
  });

  test("gives the container what its manifest says", async () => {
    await start(
      "full",
      `hostname: named
hostAliases: [{ip: 192.0.2.7, hostnames: [elsewhere]}]
dnsPolicy: None
dnsConfig: {nameservers: [192.0.2.53], searches: [x.test], options: [{name: ndots, value: '3'}]}
securityContext: {fsGroup: 4000, supplementalGroups: [5000], runAsUser: 1234, runAsGroup: 2345}
volumes: [{name: shared, emptyDir: {}}, {name: host, hostPath: {path: /etc/hostname, type: File}}]
containers:
- name: app
  image: busybox
  command: [sh, -c, 'echo "$(GREETING)" > /data/greeting; id; pwd; touch /no; exec sleep 3600']
  workingDir: /tmp
  env: [{name: WHO, value: world}, {name: GREETING, value: 'hello $(WHO)'}]
  securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  resources: {limits: {memory: 64Mi, cpu: 500m}}
  volumeMounts: [{name: shared, mountPath: /data}, {name: host, mountPath: /from-host, readOnly: true}]
- name: reader
  image: busybox
  command: [sleep, '3600']
  volumeMounts: [{name: shared, mountPath: /data, readOnly: true}]`,
    );
    const inside = async (container: string, command: string) => {
      const { stdout, stderr } = await fixture.daemon.podrt(
        "exec",
        `full/${container}`,
        "--",
        "sh",
        "-c",
        command,
      );
      return (stdout + stderr).trim();
    };
    expect(await inside("reader", "cat /data/greeting; stat -c %g /data/greeting")).toBe("hello world\n4000");
    expect(await inside("reader", "touch /data/x")).toContain("Read-only file system");
    expect(await inside("app", "hostname; cat /etc/hosts")).toMatch(
      /^named\n[\s\S]*\tnamed\n[\s\S]*192\.0\.2\.7\telsewhere$/,
    );
    expect(await inside("app", "cat /etc/resolv.conf")).toBe(
      "search x.test\nnameserver 192.0.2.53\noptions ndots:3",
    );
    expect(await inside("app", "cat /from-host")).toBe(readFileSync("/etc/hostname", "utf8").trim());
    expect(await inside("app", "grep -E 'NoNewPrivs|CapBnd' /proc/self/status")).toMatch(
      /CapBnd:\t0+\nNoNewPrivs:\t1/,
    );
    const { stdout, stderr } = await fixture.daemon.podrt("logs", "full/app");
    expect(stdout).toBe("uid=1234 gid=2345 groups=2345,4000,5000\n/tmp\n");
    expect(stderr).toContain("Read-only file system");
  });

  test("--wait tells what a pod lacks", async () => {
    const spec = "securityContext: {runAsNonRoot: true}\ncontainers: [{name: app, image: busybox}]";
    const { code, stderr } = await fixture.daemon.podrtWith(
      { stdin: podText("rootless", spec) },
      ...["run", "--detach", "--wait", "2", "-"],
    );
    expect(stderr).toBe(
      "podrt: after 2 s, pod rootless: CreateContainerConfigError: app: runAsNonRoot is set and the image runs as root; set runAsUser\n",
    );
    expect(code).toBe(1);
  });
});

describe("names", () => {
  test("are pods, POD/CONTAINER or beginnings of ids; what could be two is told", async () => {
    await start("one", sleeper);
    await start("two", sleeper);
    const { daemon } = fixture;
    const ambiguous = await daemon.podrt("exec", "app", "--", "true");
    expect(ambiguous).toMatchObject({ code: 1, stderr: "podrt: app could be two/app, one/app\n" });
    const id = containerOf(await keptPod(daemon, "two"), "app").containerId;
    expect((await daemon.podrt("exec", id.slice(0, 12), "--", "hostname")).stdout).toBe("two\n");
    expect((await daemon.podrt("exec", "default/one/app", "--", "hostname")).stdout).toBe("one\n");
  });

  test("stop leaves a pod listed, with its logs, and rm takes it away", async () => {
    await start(
      "brief",
      "containers: [{name: app, image: busybox, command: [sh, -c, 'echo said; exec sleep 3600']}]",
    );
    const { daemon } = fixture;
    expect((await daemon.podrt("rm", "brief")).stderr).toBe(
      "podrt: pod brief runs; stop it first, or use rm -f\n",
    );
    expect((await daemon.podrt("stop", "-t", "0", "brief")).stdout).toBe("brief\n");
    expect((await daemon.podrt("pods")).stdout).toMatch(/^brief +default +0\/1 +Stopped /m);
    expect((await daemon.podrt("logs", "brief")).stdout).toBe("said\n");
    expect((await daemon.podrt("rm", "brief")).stdout).toBe("brief\n");
    expect((await daemon.podrt("logs", "brief")).code).toBe(1);
    expect(readdirSync(join(daemon.root, "lib/pods"))).toEqual([]);
  });
});

test("a proxy in the environment is not asked for the way to the daemon", async () => {
  const nobody = "http://127.0.0.1:9";
  const env = { HTTP_PROXY: nobody, http_proxy: nobody, ALL_PROXY: nobody };
  const { code, stdout, stderr } = await fixture.daemon.podrtWith({ env }, "pods");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toStartWith("NAME ");
});
