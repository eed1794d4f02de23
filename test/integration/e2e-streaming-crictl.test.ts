// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { transports } from "../fixtures/session-client.ts";
import { type CommandResult, runCommand } from "./harness/command.ts";
import { crictlBinary, hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerStatus, exited, nginx, runContainer, runSandbox, sandboxStatus } from "./harness/pods.ts";

const fixture = useDaemon();

function words(...args: readonly string[]): string[] {
  return ["--runtime-endpoint", `unix://${fixture.daemon.socket}`, ...args];
}

function crictlWith(stdin: string, ...args: readonly string[]): Promise<CommandResult> {
  return runCommand(crictlBinary, words(...args), { stdin });
}

/** crictl as a person has it: on a terminal of its own. */
class OnTerminal implements Disposable {
  readonly #child: ReturnType<typeof Bun.spawn>;
  #output = "";

  constructor(...args: readonly string[]) {
    this.#child = Bun.spawn([crictlBinary, ...words(...args)], {
      terminal: { cols: 100, rows: 30, data: (_terminal, data) => (this.#output += Buffer.from(data)) },
    });
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  type(text: string): void {
    this.#child.terminal?.write(text);
  }

  resize(columns: number, rows: number): void {
    this.#child.terminal?.resize(columns, rows);
  }

  async shows(text: string): Promise<void> {
    await eventually(`the terminal shows ${JSON.stringify(text)}`, () => {
      if (this.#output.includes(text)) return true;
      throw new Error(JSON.stringify(this.#output));
    });
    this.#output = "";
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
    this.#child.terminal?.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

let names = 0;

async function newContainer(config: object = {}): Promise<{ sandboxId: string; id: string }> {
  const sandboxId = await runSandbox(fixture.daemon, `crictl-${names++}`);
  return { sandboxId, id: await runContainer(fixture.daemon, sandboxId, { name: "app", ...config }) };
}

// Without Go there is no crictl.
describe.skipIf(!hasCrictl).each([...transports])("crictl over %s", (transport) => {
  test("exec: output, exit code and a command that is not there", async () => {
    const { id } = await newContainer();
    const run = (...cmd: readonly string[]) =>
      fixture.daemon.crictlResult("exec", "-r", transport, id, ...cmd);
    expect(await run("echo", "hello")).toEqual({ code: 0, stdout: "hello\n", stderr: "" });
    const failed = await run("sh", "-c", "echo out; echo err >&2; exit 3");
    expect(failed.stdout).toBe("out\n");
    expect(failed.stderr).toMatch(/^err\n.*command terminated with exit code 3/);
    expect(failed.code).toBe(1);
    expect((await run("/no/such")).stderr).toMatch(/no such|exit code 127/i);
  });

  test("exec -i: input to its end, and a command that does not wait for it", async () => {
    const { id } = await newContainer();
    const text = "line\n".repeat(50_000);
    const { stdout } = await crictlWith(text, "exec", "-i", "-r", transport, id, "sh", "-c", "cat; echo end");
    expect(stdout.length).toBe(text.length + 4);
    expect(stdout.endsWith("line\nend\n")).toBe(true);
    const child = spawn(crictlBinary, words("exec", "-i", "-r", transport, id, "true"), { stdio: "pipe" });
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(0);
  });

  test("exec -it: a terminal with its size, that follows, and Ctrl-C", async () => {
    const { id } = await newContainer();
    using person = new OnTerminal("exec", "-it", "-r", transport, id, "sh");
    await person.shows("# ");
    person.type("tty; echo size: $(stty size)\n");
    await person.shows("/dev/pts/");
    await eventually("the terminal has the person's size", async () => {
      person.type("echo size: $(stty size)\n");
      await person.shows("size: 30 100");
      return true;
    });
    person.resize(77, 22);
    await eventually("the size follows", async () => {
      person.type("echo size: $(stty size)\n");
      await person.shows("size: 22 77");
      return true;
    });
    person.type("sleep 3599\n");
    await Bun.sleep(200);
    person.type("\x03");
    await person.shows("^C");
    person.type("exit 5\n");
    await person.shows("exit code 5");
    expect(await person.exited).toBe(1);
  });

  test("attach -i: writes to the container and reads from it until it ends", async () => {
    const command = ["sh", "-c", "while read line; do echo got $line; done; echo bye >&2"];
    const { id } = await newContainer({ command, stdin: true, stdinOnce: true });
    const { code, stdout, stderr } = await crictlWith("one\ntwo\n", "attach", "-i", "-r", transport, id);
    expect(stdout).toBe("got one\ngot two\n");
    expect(stderr).toEndWith("bye\n");
    expect(code).toBe(0);
    expect((await exited(fixture.daemon, id)).exitCode).toBe(0);
  });

  test("attach -it: to the container's terminal, which is left with Ctrl-P Ctrl-Q", async () => {
    const { id } = await newContainer({ command: ["sh"], stdin: true, tty: true });
    using person = new OnTerminal("attach", "-i", "-t", "-r", transport, id);
    await eventually("the shell answers", async () => {
      person.type("echo an$((40 + 2))swer\n");
      await person.shows("an42swer");
      return true;
    });
    person.type("\x10\x11");
    person.type("exit\n");
    await Bun.sleep(300);
    expect((await containerStatus(fixture.daemon, id)).state).toBe(1);
  });

  test("port-forward: many connections to several ports of the pod", async () => {
    const { sandboxId } = await newContainer({ image: { image: nginx }, command: [] });
    await runContainer(fixture.daemon, sandboxId, {
      name: "other",
      command: ["sh", "-c", "mkdir /www; echo other > /www/index.html; exec httpd -f -p 8080 -h /www"],
    });
    // crictl gives up with the first connection that is refused.
    const { network } = await sandboxStatus(fixture.daemon, sandboxId);
    for (const port of [80, 8080]) {
      await eventually(`the pod listens on ${port}`, () => fetch(`http://${network!.ip}:${port}/`));
    }
    const ports = [await freePort(), await freePort()] as const;
    const forwarded = [`${ports[0]}:80`, `${ports[1]}:8080`];
    const child: ChildProcess = spawn(
      crictlBinary,
      words("port-forward", "-r", transport, sandboxId, ...forwarded),
      { stdio: "ignore" },
    );
    try {
      const get = async (port: number) => {
        const response = await fetch(`http://127.0.0.1:${port}/`, { keepalive: false });
        return response.text();
      };
      expect(await eventually("nginx answers", () => get(ports[0]))).toContain("Welcome to nginx!");
      expect(await eventually("the other answers", () => get(ports[1]))).toBe("other\n");
      const pages = await Promise.all(Array.from({ length: 40 }, (_, index) => get(ports[index % 2]!)));
      expect(pages.filter((page) => page.includes("Welcome to nginx!"))).toHaveLength(20);
      expect(child.exitCode).toBeNull();
    } finally {
      child.kill("SIGKILL");
    }
  });
});
