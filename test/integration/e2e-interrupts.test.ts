// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { patience } from "../support/patience.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";

// Ctrl-C, in the middle of each command that goes on.

const fixture = useDaemon();
const POD = "interrupted";
const MANIFEST = `apiVersion: v1
kind: Pod
metadata: {name: ${POD}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: busybox, command: [sh, -c, 'echo begun; exec sleep 7654']}]
`;

/** A command that ends when it is asked to, which sleep as PID 1 does not. */
const sleeping = (seconds: string) => ["sh", "-c", `trap exit TERM; sleep ${seconds} & wait`];

/** Each with what it ends with: 0 where that is its usual end, 130 where it was not done. */
const COMMANDS: readonly (readonly [argv: string[], code: number])[] = [
  [["run", "-"], 0],
  [["run", "--rm", "--name", "quick", "busybox", ...sleeping("7655")], 130],
  [["run", "--rm", "--pod", POD, "busybox", ...sleeping("7656")], 130],
  [["logs", "-f", POD], 0],
  [["stats", "--watch"], 0],
  [["stats", "--interval", "60s", "-w", "-o", "json"], 0],
  [["events"], 0],
  [["wait", POD], 130],
  [["exec", POD, "--", "sleep", "7657"], 130],
  [["attach", POD], 130],
  [["debug", POD, "--", "sleep", "7658"], 130],
  [["port-forward", POD, "0:80"], 0],
  [["dashboard"], 0],
];

beforeAll(async () => {
  const started = await fixture.daemon.podrtWith({ stdin: MANIFEST }, "run", "--detach", "-");
  expect(started.code).toBe(0);
  await runningPod(fixture.daemon, POD, 60_000);
});
afterAll(() => fixture.daemon.podrt("rm", "-f", POD));

/** The command lines of the processes of this test's containers. */
function sleepers(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return words[0] === "sleep" && /^765\d$/.test(words[1] ?? "") ? [words[1]!] : [];
    } catch {
      return [];
    }
  });
}

function hasSocket(pid: number): boolean {
  const dir = `/proc/${pid}/fd`;
  return readdirSync(dir).some((fd) => readlinkSync(join(dir, fd)).startsWith("socket:"));
}

test.each(COMMANDS)(
  "%p is ended by it, says nothing of it, and leaves nothing",
  async (argv, code) => {
    const { daemon } = fixture;
    const file = (name: string) => join(daemon.root, name);
    const [command, ...rest] = argv;
    await Bun.write(file("stdin"), MANIFEST.replace(POD, "shown").replace("7654", "7659"));
    const ends = [openSync(file("stdin"), "r"), openSync(file("stdout"), "w"), openSync(file("stderr"), "w")];
    const child = spawn(binary, [command!, "--root", daemon.root, ...rest], { stdio: ends });
    const exited = new Promise((resolve) => child.once("exit", (...end) => resolve(end)));
    for (const fd of ends) closeSync(fd);
    try {
      // What runs something has it running, what shows something has shown it, and the others have asked the daemon.
      const shown = () => readFileSync(file("stdout"), "utf8") + readFileSync(file("stderr"), "utf8");
      const own = /765\d/.exec(argv.join(" "))?.[0] ?? (argv.join(" ") === "run -" ? "7659" : undefined);
      await eventually(
        "it is under way",
        () => {
          if (child.exitCode !== null) return true;
          if (own !== undefined) return sleepers().includes(own);
          return ["wait", "attach", "events"].includes(command!) ? hasSocket(child.pid!) : shown() !== "";
        },
        60_000,
      );
      expect(child.exitCode === null ? "" : shown()).toBe("");
      child.kill("SIGINT");
      expect(await exited).toEqual([code, null]);
      expect(readFileSync(file("stderr"), "utf8")).not.toMatch(/podrt: |\n +at |rror/);
      await eventually("only the pod is there", () => sleepers().join() === "7654", 60_000);
      const kept = (await daemon.pods.listPods({})).pods.map(({ name }) => name?.name);
      const { containers } = await daemon.api.listContainers({});
      expect({ kept, containers: containers.map(({ metadata }) => metadata?.name) }).toEqual({
        kept: [POD],
        containers: ["app"],
      });
    } finally {
      child.kill("SIGKILL");
    }
  },
  240_000 * patience,
);
