// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainerState } from "../../gen/runtime/v1/api_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate } from "../fake-pods.ts";

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

/** What `previous` and the logs of several containers need: a log for each, by its id. */
async function daemonWithLogs(texts: Record<string, string>): Promise<FakeDaemon> {
  const daemon = await startFakeDaemon({
    runtime: {
      containerStatus: ({ containerId }) => ({
        status: { id: containerId, logPath: join(daemon.directory, containerId[0]!) },
      }),
    },
  });
  populate(daemon);
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(daemon.directory, name), text);
  return daemon;
}

const second = (n: number, text: string, stream = "stdout", part = "F") =>
  `2026-01-01T00:00:0${n}.000000000Z ${stream} ${part} ${text}\n`;

describe("logs of a pod", () => {
  async function daemonWithTwo(): Promise<FakeDaemon> {
    const daemon = await daemonWithLogs({
      b: second(1, "b1") + second(3, "b3", "stdout", "P") + second(5, "-b5") + second(7, "b7"),
      f: second(2, "f2") + second(4, "f4", "stderr") + second(6, "f6", "stdout", "P"),
    });
    const app2 = { ...daemon.containers[0]!, id: id("f"), metadata: { name: "app2", attempt: 0 } };
    daemon.containers.push(app2);
    return daemon;
  }

  test("are in the order of their times, each with its name, and no line is torn by another's", async () => {
    await using daemon = await daemonWithTwo();
    const both: string[] = [];
    await runCommand(daemon.socketPath, ["logs", "demo"], { onOut: (text) => both.push(text) });
    expect(both.join("")).toBe(
      ["app1 | b1", "app2 | f2", "app1 | b3-b5", "app2 | f4", "app2 | f6", "app1 | b7", ""].join("\n"),
    );
  });

  test("have a colour for each container on a terminal", async () => {
    await using daemon = await daemonWithTwo();
    const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    const { out } = await runCommand(daemon.socketPath, ["logs", "demo"], { terminal });
    expect(out).toContain("\u001b[36mapp1 | \u001b[39mb1\n");
    expect(out).toContain("\u001b[35mapp2 | \u001b[39mf2\n");
    const plain = await runCommand(daemon.socketPath, ["logs", "demo"], { terminal, env: { NO_COLOR: "1" } });
    expect(plain.out).not.toContain("\u001b");
  });

  test("begin at a time under --since, with whole lines", async () => {
    await using daemon = await daemonWithTwo();
    const of = async (...args: string[]) => {
      const { out, err } = await runCommand(daemon.socketPath, ["logs", ...args]);
      return out + err;
    };
    expect(await of("demo", "--since", "2026-01-01T00:00:05Z")).toBe("app2 | f6\napp1 | b7\n");
    expect(await of("demo/app1", "--since", "2026-01-01T00:00:03Z")).toBe("b3-b5\nb7\n");
    expect(await of("demo/app1", "--since", "2026-01-01T00:00:03Z", "--tail", "1")).toBe("b7\n");
    expect(await of("demo", "--since", "1s")).toBe("");
    const { exitCode, err } = await runCommand(daemon.socketPath, ["logs", "demo", "--since", "yesterday"]);
    expect([exitCode, err]).toEqual([2, expect.stringContaining("expected how long ago, as in 10m")]);
  });
});

describe("logs --previous", () => {
  test("are those of the container before, of one or of a pod", async () => {
    await using daemon = await daemonWithLogs({ b: second(2, "now"), d: second(1, "before") });
    expect((await runCommand(daemon.socketPath, ["logs", "-p", "app1"])).out).toBe("before\n");
    expect((await runCommand(daemon.socketPath, ["logs", "-pf", "demo"])).out).toBe("app1 | before\n");
  });

  test("that are not there are said to be missing", async () => {
    await using daemon = await daemonWithLogs({ e: second(1, "only") });
    const one = await runCommand(daemon.socketPath, ["logs", "-p", "etcd"]);
    expect([one.exitCode, one.err]).toEqual([1, expect.stringContaining("it was not started again")]);
    const pod = await runCommand(daemon.socketPath, ["logs", "-p", "other"]);
    expect(pod.err).toBe(
      "podrt: no container of pod kube-system/other was started again; leave --previous out\n",
    );
  });
});
