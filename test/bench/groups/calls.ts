// SPDX-License-Identifier: Apache-2.0
import { ContainerState } from "../../../src/gen/runtime/v1/api_pb.ts";
import { openSession, type Transport } from "../../fixtures/session-client.ts";
import { type OciRuntime, openBareRuntimes } from "../oci-runtime.ts";
import type { Peer } from "../peers/peer.ts";
import {
  createContainer,
  forgetPod,
  OBEDIENT,
  preparePod,
  runPod,
  startContainer,
  stopContainer,
  stopPod,
  untilReady,
} from "../pods.ts";
import { type Group, inTurn, type Row } from "../row.ts";

const ms = { unit: "ms", better: "less" } as const;
const rows = {
  version: { title: "Version (the client and the socket alone)", ...ms, target: "asGood" },
  host: { title: "RunPodSandbox, host network", ...ms, target: { times: 4 } },
  bridge: { title: "RunPodSandbox, bridge", ...ms, target: { times: 15 } },
  start: { title: "CreateContainer + StartContainer", ...ms, target: { times: 20 } },
  exit: { title: "start of true to its exit status", ...ms, target: { times: 8 } },
  exec: { title: "ExecSync(true)", ...ms, target: { times: 15 } },
  execCpu: { title: "CPU per ExecSync(true)", ...ms, target: { times: 20 } },
  spdy: { title: "Exec over SPDY, first byte", ...ms, target: { times: 10 } },
  websocket: { title: "Exec over WebSocket, first byte", ...ms, target: { times: 10 } },
  stop: { title: "StopContainer (answers SIGTERM) + RemoveContainer", ...ms, target: { times: 8 } },
  stopBridge: { title: "StopPodSandbox + RemovePodSandbox, bridge", ...ms, target: { times: 8 } },
} as const satisfies Record<string, Row>;

const warmUpRounds = 3;
const execsInARow = 10;
/** The kernel takes cgroups, mounts and namespaces apart after the call that removed them has returned. */
const settleMs = 50;

/**
 * One pod's way from the first call to the last, one call at a time, each peer in its turn. Each has another pod all the
 * while, as a node always has: the first pod's bridge stays with CNI plugins, and goes with the last pod with podrt.
 */
export const calls: Group = {
  name: "calls",
  rows: Object.values(rows),
  async measure(bench) {
    const { peers, rounds, samples } = bench;
    await using resident = new AsyncDisposableStack();
    for (const peer of peers) {
      const pod = await runPod(peer, preparePod(peer, "resident", "bridge"));
      resident.defer(async () => {
        await stopPod(peer, pod);
        await forgetPod(peer, pod);
      });
    }
    await using alone = await openBareRuntimes(bench);
    for (let round = -warmUpRounds; round < rounds; round += 1) {
      for (const peer of inTurn(peers, round)) {
        const add = (row: Row, value: number) => {
          if (round >= 0) samples.add(row.title, peer.name, value);
        };
        await live(peer, `life-${round + warmUpRounds}`, add);
        await Bun.sleep(settleMs);
      }
      for (const runtime of inTurn(alone.runtimes, round)) {
        await runAlone(runtime, (row, value) => {
          if (round >= 0) samples.add(row.title, runtime.name, value);
        });
        await Bun.sleep(settleMs);
      }
    }
  },
};

type Add = (row: Row, value: number) => void;

function stopwatch(add: Add) {
  return async <T>(row: Row, work: () => Promise<T>): Promise<T> => {
    const startMs = performance.now();
    const result = await work();
    add(row, performance.now() - startMs);
    return result;
  };
}

/** What a low-level runtime does of it, called as a program: the same container, in a pod that is there already. */
async function runAlone(runtime: OciRuntime, add: Add): Promise<void> {
  const time = stopwatch(add);
  await time(rows.start, () => runtime.run());
  await time(rows.exec, () => runtime.exec());
  await time(rows.exit, () => runtime.runToEnd());
  await runtime.remove();
}

async function live(peer: Peer, name: string, add: Add): Promise<void> {
  const { api } = peer;
  const time = stopwatch(add);
  await time(rows.version, () => api.version({}));
  const preparedHost = preparePod(peer, `${name}-host`, "host");
  const hostPod = await time(rows.host, () => runPod(peer, preparedHost));
  await stopPod(peer, hostPod);
  await forgetPod(peer, hostPod);

  const prepared = preparePod(peer, name, "bridge");
  const pod = await time(rows.bridge, () => runPod(peer, prepared));
  const app = await time(rows.start, () => startContainer(peer, pod, "app", OBEDIENT));
  await untilReady(pod);
  await time(rows.exec, () => execTrue(peer, app));
  add(rows.execCpu, await cpuPerExec(peer, app));
  for (const transport of ["spdy", "websocket"] as const)
    await time(rows[transport], () => firstByte(peer, app, transport));
  const brief = await createContainer(peer, pod, "brief", ["true"]);
  await time(rows.exit, () => runToEnd(peer, brief));
  await api.removeContainer({ containerId: brief });
  await time(rows.stop, () => stopContainer(peer, app));
  await time(rows.stopBridge, () => stopPod(peer, pod));
  await forgetPod(peer, pod);
}

async function execTrue({ api }: Peer, containerId: string): Promise<void> {
  const { exitCode } = await api.execSync({ containerId, cmd: ["true"], timeout: 30n });
  if (exitCode !== 0) throw new Error(`true exited with ${exitCode}`);
}

/** Of a few in a row, in milliseconds. */
async function cpuPerExec(peer: Peer, containerId: string): Promise<number> {
  const before = peer.group.cpuMs();
  for (let count = 0; count < execsInARow; count += 1) await execTrue(peer, containerId);
  await Bun.sleep(settleMs);
  return (peer.group.cpuMs() - before) / execsInARow;
}

/** From the call to the first byte of what the command prints. */
async function firstByte(peer: Peer, containerId: string, transport: Transport): Promise<void> {
  const streams = { stdout: true };
  const { url } = await peer.api.exec({ containerId, cmd: ["echo", "here"], ...streams });
  const protocol = transport === "websocket" ? peer.webSocketProtocol : undefined;
  const session = await openSession(url, transport, streams, protocol);
  await new Promise<void>((resolve) => {
    if (session.stdout() !== "") resolve();
    // A server may open a channel by a message that holds nothing.
    else session.onOutput((data) => data.length > 0 && resolve());
  });
  session.leave();
}

/** Until the status says what it ended with, as who waits for it would ask. */
async function runToEnd({ api }: Peer, containerId: string): Promise<void> {
  await api.startContainer({ containerId });
  for (;;) {
    const { status } = await api.containerStatus({ containerId });
    if (status?.state !== ContainerState.CONTAINER_EXITED) continue;
    if (status.exitCode !== 0) throw new Error(`true exited with ${status.exitCode}: ${status.message}`);
    return;
  }
}
