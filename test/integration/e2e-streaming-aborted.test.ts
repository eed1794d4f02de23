// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { openSession, type Streams, type Transport } from "../fixtures/session-client.ts";
import { connectSpdy } from "../fixtures/spdy-client.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import { nginx, runContainer, runSandbox } from "./harness/pods.ts";
import { allPids, isAlive, memoryOf, procLink, procText } from "./harness/proc.ts";

const fixture = useDaemon();

const MIB = 1024 * 1024;
/** `PODRT_TEST_ABORTED=1000` makes as many rounds of all kinds together. */
const SESSIONS = Number(process.env["PODRT_TEST_ABORTED"] ?? 300);
const AT_ONCE = 20;
const MEMORY_BOUND_BYTES = 64 * MIB;

interface Pod {
  readonly sandboxId: string;
  /** Has a stdin that it never reads. */
  readonly deaf: string;
  /** Writes all the time. */
  readonly chatty: string;
}

/** Each begins a session in its own way, and answers what ends it without a goodbye. */
type Abortable = (pod: Pod) => Promise<() => void>;

function command(cmd: readonly string[], streams: Streams, transport: Transport, during: During = idle) {
  return async ({ deaf }: Pod) => {
    const { url } = await fixture.daemon.api.exec({ containerId: deaf, cmd: [...cmd], ...streams });
    return during(await openSession(url, transport, streams));
  };
}

function attached(to: "deaf" | "chatty", streams: Streams, transport: Transport, during: During = idle) {
  return async (pod: Pod) => {
    const { url } = await fixture.daemon.api.attach({ containerId: pod[to], ...streams });
    return during(await openSession(url, transport, streams));
  };
}

type During = (session: Awaited<ReturnType<typeof openSession>>) => () => void;

const idle: During = (session) => session.abort;
/** Writes more than anybody reads. */
const flooding: During = (session) => {
  const data = new Uint8Array(MIB);
  void (async () => {
    for (let count = 0; count < 8; count++) await session.write(data);
  })().catch(() => {});
  return session.abort;
};
/** Reads nothing of what comes. */
const notReading: During = (session) => {
  session.socket.pause();
  return session.abort;
};
/** Ends the connection as a program that was killed does. */
const closing: During = (session) => () => void session.socket.destroy();

const io = { stdin: true, stdout: true, stderr: true };
const terminal = { stdin: true, stdout: true, tty: true };

const kinds: readonly Abortable[] = (["spdy", "websocket"] as const).flatMap((transport) => [
  command(["sleep", "3599"], io, transport),
  command(["sh"], terminal, transport),
  command(["sleep", "3599"], io, transport, flooding),
  command(["yes"], io, transport, notReading),
  command(["sh", "-c", "sleep 3599 & setsid sleep 3599 & wait"], io, transport, closing),
  command(["cat"], io, transport, closing),
  attached("deaf", io, transport),
  attached("deaf", io, transport, flooding),
  attached("chatty", io, transport, notReading),
  attached("chatty", io, transport, closing),
]);

async function forwarding(pod: Pod, isWhole: boolean): Promise<() => void> {
  const { url } = await fixture.daemon.api.portForward({ podSandboxId: pod.sandboxId });
  const client = await connectSpdy(url, ["portforward.k8s.io"]);
  await client.open({ streamtype: "error", port: "80", requestid: "1" });
  if (isWhole) {
    const data = await client.open({ streamtype: "data", port: "80", requestid: "1" });
    await data.write("GET / HTTP/1.1\r\n");
  }
  return () => void client.socket.resetAndDestroy();
}

/** A URL that is called and left before the client has said what it wants. */
async function unspoken({ deaf }: Pod): Promise<() => void> {
  const { url } = await fixture.daemon.api.exec({ containerId: deaf, cmd: ["true"], ...io });
  const { hostname, port, pathname } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on("error", () => {});
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: x\r\n`);
  return () => void socket.resetAndDestroy();
}

const all: readonly Abortable[] = [
  ...kinds,
  (pod) => forwarding(pod, true),
  (pod) => forwarding(pod, false),
  unspoken,
];

function openFds(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => procLink(`/proc/${pid}/fd/${fd}`));
}

/** Command lines of everything in the instance's cgroups but what the chatty container starts all the time. */
function processes(): string[] {
  const instance = instanceOf(fixture.daemon.root);
  return allPids()
    .filter((pid) => isAlive(pid) && procText(`/proc/${pid}/cgroup`).includes(`podrt-${instance}`))
    .map((pid) => procText(`/proc/${pid}/cmdline`).replaceAll("\0", " "))
    .filter((words) => !words.startsWith("usleep") && words !== "")
    .sort();
}

async function abortMany(pod: Pod, count: number): Promise<void> {
  const abortOne = async (index: number) => {
    const abort = await all[index % all.length]!(pod);
    await Bun.sleep(20);
    abort();
  };
  for (let first = 0; first < count; first += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => abortOne(first + index)));
  }
}

test("sessions whose clients vanish leave no descriptor, process or memory", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "aborted");
  await runContainer(daemon, sandboxId, { name: "web", image: { image: nginx }, command: [] });
  const pod = {
    sandboxId,
    deaf: await runContainer(daemon, sandboxId, { name: "deaf", stdin: true }),
    chatty: await runContainer(daemon, sandboxId, {
      name: "chatty",
      command: ["sh", "-c", "while :; do echo a line of a log; usleep 1000; done"],
      stdin: true,
    }),
  };
  // What is made once and kept, of Bun's and of the daemon's, is there afterwards.
  await abortMany(pod, 2 * all.length);
  await Bun.sleep(1500);
  const [fds, running] = [openFds(daemon.pid()), processes()];
  const before = memoryOf(daemon.pid())["Rss"]!;
  await abortMany(pod, SESSIONS);
  await eventually(
    "every process of the sessions has ended",
    () => {
      expect(processes()).toEqual(running);
      return true;
    },
    20_000,
  );
  await eventually(
    "every descriptor is closed",
    () => {
      const now = openFds(daemon.pid());
      if (now.length > fds.length) throw new Error(now.filter((fd) => !fds.includes(fd)).join(", "));
      return true;
    },
    20_000,
  );
  // Bun gives back what was freed when it is idle for some seconds.
  await eventually(
    "the memory is given back",
    () => {
      const grown = memoryOf(daemon.pid())["Rss"]! - before;
      if (grown > MEMORY_BOUND_BYTES) throw new Error(`${grown} bytes more than before`);
      return true;
    },
    60_000,
  );
  expect((await daemon.api.listContainers({ filter: { state: { state: 1 } } })).containers).toHaveLength(3);
}, 200_000);
