// SPDX-License-Identifier: Apache-2.0
import { createServer } from "node:net";
import { busybox } from "../../integration/harness/pods.ts";
import { type PodrtPeer, startPodrt } from "../peers/podrt.ts";
import { forgetPod, IDLE, type Pod, preparePod, runPod, startContainer, stopPod } from "../pods.ts";
import { type Group, inParallel, type Row } from "../row.ts";
import { summarize } from "../samples.ts";

const rows = {
  first: { title: "start of a pod beside 10", unit: "ms", better: "less" },
  last: { title: "start of a pod beside 1,000", unit: "ms", better: "less" },
  growth: {
    title: "pod 1,000's start against pod 10's",
    unit: "times",
    better: "less",
    target: { atMost: 1.5 },
  },
  delays: {
    title: "delays of the event loop over 50 ms while 1,000 pods start",
    unit: "count",
    better: "less",
    target: { atMost: 0 },
  },
} as const satisfies Record<string, Row>;

/** Starts around the one that is asked for. */
const around = 20;
const makers = 4;

/** As many pods as nobody has on one machine, with one container each, in a podrt of their own. */
export const manyPods: Group = {
  name: "thousand",
  rows: Object.values(rows),
  isLong: true,
  async measure({ options, samples, note, isQuick }) {
    const total = isQuick ? 100 : 1000;
    await using stack = new AsyncDisposableStack();
    const port = await freePort();
    const podrt = await startPodrt(options, `[metrics]\nport = ${port}\n`);
    stack.defer(podrt.close);
    await podrt.api.pullImage({ image: { image: busybox } });
    const pods: Pod[] = [];
    const start = async () => {
      const prepared = preparePod(podrt, `many-${pods.length}`, "bridge");
      const startMs = performance.now();
      const pod = await runPod(podrt, prepared);
      pods.push(pod);
      await startContainer(podrt, pod, "app", IDLE);
      return performance.now() - startMs;
    };
    const startSome = async (title: string) => {
      const taken: number[] = [];
      for (let count = 0; count < around; count += 1) taken.push(await start());
      for (const value of taken) samples.add(title, "podrt", value);
      return summarize(taken).p50;
    };
    stack.defer(() => removeAll(podrt, pods));
    const first = await startSome(rows.first.title);
    for (let made = pods.length; made < total - around; made = pods.length) {
      note(`${made} pods`);
      const count = Math.min(100, total - around - made);
      await inParallel(count, 1, async () => void (await start()));
    }
    const last = await startSome(rows.last.title);
    samples.add(rows.growth.title, "podrt", last / first);
    samples.add(rows.delays.title, "podrt", await delaysOver(port, "0.05"));
  },
};

async function removeAll(podrt: PodrtPeer, pods: readonly Pod[]): Promise<void> {
  await inParallel(pods.length, makers, async (index) => {
    await stopPod(podrt, pods[index]!);
    await forgetPod(podrt, pods[index]!);
  });
}

/** How often the daemon's thread came to a timer later than that, from its own histogram. */
async function delaysOver(port: number, seconds: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const value = (pattern: string) => {
    const found = new RegExp(`^podrt_event_loop_delay_seconds_${pattern} (\\d+)$`, "m").exec(text);
    if (found === null) throw new Error(`the metrics have no podrt_event_loop_delay_seconds_${pattern}`);
    return Number(found[1]);
  };
  return value("count") - value(`bucket\\{le="${seconds}"\\}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
