// SPDX-License-Identifier: Apache-2.0
import { closeSync, ftruncateSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openSession, type Transport, transports } from "../../fixtures/session-client.ts";
import type { ContainerConfig } from "../../integration/harness/pods.ts";
import type { Peer } from "../peers/peer.ts";
import { forgetPod, OBEDIENT, preparePod, runPod, startContainer, stopPod } from "../pods.ts";
import { type Group, inTurn, type Row } from "../row.ts";

const rate = { unit: "MB/s", better: "more", target: "asGood" } as const;
const cpu = { unit: "s/GB", better: "less", target: "asGood" } as const;
const rateRows = {
  spdy: { title: "exec stream of cat over SPDY, 1 GB", ...rate },
  websocket: { title: "exec stream of cat over WebSocket, 1 GB", ...rate },
} as const satisfies Record<Transport, Row>;
const cpuRows = {
  spdy: { title: "CPU of that stream over SPDY", ...cpu },
  websocket: { title: "CPU of that stream over WebSocket", ...cpu },
} as const satisfies Record<Transport, Row>;

const rounds = 3;

/** What a command in a container prints, taken as fast as the client can. */
export const streams: Group = {
  name: "streams",
  rows: [...Object.values(rateRows), ...Object.values(cpuRows)],
  async measure({ peers, samples, isQuick }) {
    const bytes = isQuick ? 100_000_000 : 1_000_000_000;
    for (let round = 0; round < (isQuick ? 1 : rounds); round += 1) {
      for (const peer of inTurn(peers, round)) {
        const source = join(peer.dir, "zeros");
        const file = openSync(source, "w");
        ftruncateSync(file, bytes);
        closeSync(file);
        const mounts = [{ hostPath: source, containerPath: "/zeros", readonly: true }];
        const pod = await runPod(peer, preparePod(peer, `streams-${round}`, "host"));
        const more = { mounts } as ContainerConfig;
        const app = await startContainer(peer, pod, "app", OBEDIENT, more);
        for (const transport of transports) {
          const cpuMs = peer.group.cpuMs();
          const startMs = performance.now();
          await readAll(peer, app, transport, bytes);
          const seconds = (performance.now() - startMs) / 1000;
          samples.add(rateRows[transport].title, peer.name, bytes / 1e6 / seconds);
          samples.add(cpuRows[transport].title, peer.name, (peer.group.cpuMs() - cpuMs) / (bytes / 1e6));
        }
        await stopPod(peer, pod);
        await forgetPod(peer, pod);
        rmSync(source);
      }
    }
  },
};

/** Until the last byte is here. */
async function readAll(peer: Peer, containerId: string, transport: Transport, bytes: number): Promise<void> {
  const streams = { stdout: true };
  const { url } = await peer.api.exec({ containerId, cmd: ["cat", "/zeros"], ...streams });
  const protocol = transport === "websocket" ? peer.webSocketProtocol : undefined;
  const session = await openSession(url, transport, streams, protocol);
  let taken = session.stdout().length;
  const all = new Promise<void>((resolve) => {
    if (taken >= bytes) resolve();
    session.onOutput((data) => {
      taken += data.length;
      if (taken >= bytes) resolve();
    });
  });
  const gone = session.closed.then(() => {
    if (taken < bytes) throw new Error(`${peer.name}: ${taken} of ${bytes} bytes came over ${transport}`);
  });
  await Promise.race([all, gone]);
  session.leave();
}
