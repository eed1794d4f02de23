// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unixAddress } from "../../src/linux/abi/socket.ts";
import { Fd } from "../../src/linux/fd.ts";
import { listeningPath } from "../../src/linux/listening-socket.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { projectDir } from "../fixtures/images/packages.ts";
import { patience } from "../support/patience.ts";
import { connectApi } from "./harness/api.ts";
import { outputOf } from "./harness/command.ts";
import { binary, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { openNotifySocket } from "./harness/notify-socket.ts";

setDefaultTimeout(60_000 * patience);

const root = mkdtempSync(join(tmpdir(), "prt-"));
const socketPath = join(root, "run/podrt.sock");

beforeAll(() => mkdirSync(join(root, "run"), { mode: 0o700 }));
afterAll(() => rmSync(root, { recursive: true }));

test("a service manager hears when clients are answered, that the daemon lives, and that it stops", async () => {
  const directory = mkdtempSync(join(tmpdir(), "prt-notify-"));
  const path = join(directory, "notify");
  using notify = openNotifySocket(path);
  const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: "200000" };
  const daemon = await startDaemon({ program: { path: binary, environment } });
  try {
    await eventually("it is told so", () => notify.messages().length >= 3);
    expect(notify.messages().slice(0, 3)).toEqual([
      `READY=1\nSTATUS=serving at ${daemon.socket}\n`,
      "WATCHDOG=1\n",
      "WATCHDOG=1\n",
    ]);
  } finally {
    await daemon.close();
    rmSync(directory, { recursive: true });
  }
  expect(notify.messages().at(-1)).toBe("STOPPING=1\nSTATUS=stopping; the pods go on\n");
});

test("an abstract notify socket is as good", async () => {
  const name = `@podrt-test-${process.pid}`;
  const address = unixAddress(name.replace("@", "\0")).subarray(0, -1);
  const SOCK_DGRAM = 2;
  using socket = new Fd(syscall("socket", 1, SOCK_DGRAM, 0));
  syscall("bind", socket.number, address, address.length);
  const { sendDatagram } = await import("../../src/linux/unix-socket.ts");
  sendDatagram(name, Buffer.from("READY=1"));
  const received = Buffer.alloc(32);
  expect(syscall("recvfrom", socket.number, received, received.length, 0, null, null)).toBe(7);
});

/** A listening socket at the path, as a service manager holds it. */
function listenAt(path: string): Fd {
  rmSync(path, { force: true });
  const socket = new Fd(syscall("socket", 1, 1, 0));
  const address = unixAddress(path);
  syscall("bind", socket.number, address, address.length);
  syscall("listen", socket.number, 128);
  return socket;
}

/** `podrt serve` with the socket as its descriptor 3 and its own pid in LISTEN_PID. */
function activate(socket: Fd, count = 1) {
  const command = `LISTEN_FDS=${count} LISTEN_PID=$$ exec ${binary} serve --root ${root}`;
  return Bun.spawn(["sh", "-c", command], {
    stdio: ["ignore", "pipe", "pipe", socket.number],
  });
}

test("a passed socket is served, and stays the service manager's", async () => {
  using socket = listenAt(socketPath);
  expect(listeningPath(socket.number)).toBe(socketPath);
  const api = connectApi(socketPath);
  for (const turn of ["first", "second"]) {
    // Nobody accepts yet: this client waits instead of failing.
    const early = api.version({});
    const daemon = activate(socket);
    expect((await early).runtimeName).toBe("podrt");
    const answers = await Promise.all(Array.from({ length: 20 }, () => api.listPodSandbox({})));
    expect(answers.length, turn).toBe(20);
    daemon.kill("SIGTERM");
    expect(await daemon.exited).toBe(0);
    expect(existsSync(socketPath)).toBe(true);
  }
});

test("a socket that is not this instance's is refused, and so are several", async () => {
  using other = listenAt(join(root, "other.sock"));
  const refusals = [
    [
      () => activate(other),
      `what was passed is the socket at ${join(root, "other.sock")}; this instance is at`,
    ],
    [() => activate(other, 2), "2 sockets were passed, and podrt serves one"],
  ] as const;
  for (const [start, sentence] of refusals) {
    const daemon = start();
    expect(await new Response(daemon.stderr).text()).toContain(sentence);
    expect(await daemon.exited).toBe(1);
  }
});

// systemd's own tools are not everywhere.
test.skipIf(!existsSync("/usr/bin/systemd-socket-activate"))(
  "systemd's socket activation works",
  async () => {
    rmSync(socketPath, { force: true });
    const activator = Bun.spawn(
      ["/usr/bin/systemd-socket-activate", "--listen", socketPath, binary, "serve", "--root", root],
      { stdio: ["ignore", "ignore", "ignore"] },
    );
    try {
      await eventually("systemd listens", () => existsSync(socketPath));
      expect((await connectApi(socketPath).version({})).runtimeName).toBe("podrt");
    } finally {
      activator.kill("SIGTERM");
      expect(await activator.exited).toBe(0);
    }
  },
);

// systemd's own tools are not everywhere, and make is not in the virtual machine.
test.skipIf(!existsSync("/usr/bin/systemd-analyze") || !existsSync("/usr/bin/make"))(
  "systemd has no objection to the installed units",
  async () => {
    const prefix = join(root, "prefix");
    await outputOf("make", ["--silent", "install", `PREFIX=${prefix}`], { cwd: projectDir });
    const units = join(prefix, "lib/systemd/system");
    expect(readFileSync(join(units, "podrt.service"), "utf8")).toContain(
      `ExecStart=${prefix}/bin/podrt serve\n`,
    );
    const { status, stderr } = spawnSync(
      "systemd-analyze",
      ["verify", join(units, "podrt.service"), join(units, "podrt.socket")],
      { encoding: "utf8" },
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
  },
);
