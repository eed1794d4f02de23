// SPDX-License-Identifier: Apache-2.0
import { closeSync, createReadStream, fstatSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { messageOf } from "../../../src/errors.ts";
import { ContainerState } from "../../../src/gen/runtime/v1/api_pb.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import type { ContainerConfig } from "../../integration/harness/pods.ts";
import type { Peer } from "../peers/peer.ts";
import { createContainer, forgetPod, type Pod, preparePod, runPod, stopPod } from "../pods.ts";
import { type Group, inTurn, type Row } from "../row.ts";

const rate = { unit: "MB/s", better: "more", target: "asGood" } as const;
const rows = {
  rate: { title: "log of 100-byte lines", ...rate },
  cpu: { title: "CPU of that log", unit: "s/GB", better: "less", target: "asGood" },
  splits: {
    title: "lines of that log split for no reason",
    unit: "count",
    better: "less",
    target: { atMost: 0 },
  },
  many: { title: "logs of 20 containers at once", ...rate },
} as const satisfies Record<string, Row>;

const lineBytes = 100;
const containers = 20;
const rounds = 5;
const END = "the last line";

/** Lines that a container prints as fast as they are taken from it, until the last is in the file of its log. */
export const logs: Group = {
  name: "logs",
  rows: Object.values(rows),
  async measure({ peers, samples, isQuick, note }) {
    const megabytes = isQuick ? 40 : 200;
    const stuck = new Set<Peer>();
    for (let round = 0; round < (isQuick ? 1 : rounds); round += 1) {
      for (const peer of inTurn(peers, round)) {
        const pod = await runPod(peer, preparePod(peer, `logs-${round}`, "host"));
        const add = (row: Row, value: number) => samples.add(row.title, peer.name, value);
        const cpuMs = peer.group.cpuMs();
        const [log] = await printed(peer, pod, 1, megabytes, (value) => add(rows.rate, value));
        add(rows.cpu, (peer.group.cpuMs() - cpuMs) / megabytes);
        add(rows.splits, await splitLines(log!));
        if (!stuck.has(peer)) {
          const part = megabytes / containers;
          await printed(peer, pod, containers, part, (value) => add(rows.many, value)).catch((error) => {
            // Some containerd stop reading one of them.
            if (peer === peers[0]) throw error;
            stuck.add(peer);
            note(`${peer.name} is left out of "${rows.many.title}" from here on: ${messageOf(error)}`);
          });
        }
        // A containerd that is asked to stop what is just ending may fail.
        if (!stuck.has(peer)) await eventually("all have ended", () => haveEnded(peer, pod));
        await stopPod(peer, pod);
        await forgetPod(peer, pod);
      }
    }
  },
};

async function haveEnded({ api }: Peer, { id }: Pod): Promise<boolean> {
  const { containers } = await api.listContainers({ filter: { podSandboxId: id } });
  return containers.every(({ state }) => state === ContainerState.CONTAINER_EXITED);
}

/** Has so many containers print a file of lines each, and answers their logs' paths. */
async function printed(
  peer: Peer,
  pod: Pod,
  count: number,
  megabytes: number,
  addRate: (value: number) => void,
): Promise<string[]> {
  const source = join(peer.dir, "lines");
  writeLines(source, megabytes);
  const mounts = [{ hostPath: source, containerPath: "/lines", readonly: true }] as ContainerConfig["mounts"];
  const names = Array.from({ length: count }, (_, index) => `prints-${count}-${index}`);
  const ids: string[] = [];
  for (const name of names)
    ids.push(await createContainer(peer, pod, name, ["cat", "/lines"], { mounts: mounts! }));
  const files = names.map((name) => join(pod.dir, "logs", `${name}.log`));
  const startMs = performance.now();
  await Promise.all(ids.map((containerId) => peer.api.startContainer({ containerId })));
  for (const file of files) await eventually(`${file} is whole`, () => isWhole(file), 120_000, 5);
  addRate((count * megabytes) / ((performance.now() - startMs) / 1000));
  rmSync(source);
  return files;
}

function writeLines(file: string, megabytes: number): void {
  const line = `${"0123456789".repeat(10).slice(0, lineBytes - 1)}\n`;
  const text = line.repeat((megabytes * 1e6) / lineBytes - 1);
  writeFileSync(file, `${text}${END.padEnd(lineBytes - 1)}\n`);
}

/** Whether the last line has come to the end of the file. */
function isWhole(file: string): boolean {
  const log = openSync(file, "r");
  try {
    const tail = Buffer.alloc(2 * lineBytes);
    const { size } = fstatSync(log);
    readSync(log, tail, 0, tail.length, Math.max(0, size - tail.length));
    return tail.includes(END) && tail.includes("\n", tail.indexOf(END));
  } finally {
    closeSync(log);
  }
}

/** Records that say that their line goes on in the next one. */
async function splitLines(file: string): Promise<number> {
  let split = 0;
  for await (const line of createInterface({ input: createReadStream(file) }))
    if (line.includes(" stdout P ")) split += 1;
  return split;
}
