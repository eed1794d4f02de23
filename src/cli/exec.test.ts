// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ExecRequest } from "../gen/podrt/v1/podrt_pb.ts";
import { ContainerState } from "../gen/runtime/v1/api_pb.ts";
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { id, populate } from "./fake-pods.ts";

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

  test("is ended by Ctrl-C before it has begun", async () => {
    const interrupt = new AbortController();
    await using daemon = await startFakeDaemon({
      runtime: {
        listContainers: () => {
          interrupt.abort();
          return { containers: daemon.containers };
        },
      },
      pods: {
        async *exec(_requests, { signal }) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
      },
    });
    populate(daemon);
    const interrupted = interrupt.signal;
    expect(await runCommand(daemon.socketPath, ["exec", "demo/app1", "ls"], { interrupted })).toEqual({
      exitCode: 130,
      out: "",
      err: "",
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

  test("in what does not run, exec and attach say how that ended, when it goes on, and what shows more", async () => {
    const finishedAt = BigInt(Date.now() - 200_000) * 1_000_000n;
    const status = { finishedAt, exitCode: 137, reason: "OOMKilled" };
    await using daemon = await startFakeDaemon({ runtime: { containerStatus: () => ({ status }) } });
    populate(daemon);
    const attempt = id("d").slice(0, 12);
    const failureOf = async (...argv: string[]) => {
      const { exitCode, err } = await runCommand(daemon.socketPath, argv);
      expect(exitCode).toBe(1);
      return err;
    };
    const ended =
      "podrt: container demo/app1 ended 3m ago with exit code 137 (OOMKilled); " +
      "`podrt logs demo/app1` shows what it wrote, `podrt why demo/app1` tells more\n";
    expect(await failureOf("attach", attempt)).toBe(ended);
    expect(await failureOf("exec", attempt, "ls")).toBe(ended);
    daemon.pods[0]!.containers![0]!.nextTryAtMs = BigInt(Date.now() + 100_000);
    expect(await failureOf("attach", attempt)).toMatch(/\(OOMKilled\), and is started again in 1m\d\ds; /);
    daemon.containers[1]!.state = ContainerState.CONTAINER_CREATED;
    expect(await failureOf("attach", attempt)).toBe(
      "podrt: container demo/app1 has not been started; `podrt why demo/app1` tells more\n",
    );
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
