// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ConnectError } from "@connectrpc/connect";
import { projectDir } from "../../fixtures/images/packages.ts";
import type { Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";
import type { ContainerConfig } from "./pods.ts";

export const go = Bun.which("go");

/** One line of what the plugin says: what it heard, of which pod and container, and details. */
export interface Heard {
  readonly event: string;
  readonly pod: string;
  readonly container: string;
  readonly [detail: string]: unknown;
}

/** The plugin of test/nri-plugin, connected to a daemon. */
export interface NriPlugin extends AsyncDisposable {
  readonly heard: Heard[];
  readonly pid: number;
  /** Waits for an event of a container or, without one, of a pod; answers it. */
  hears(event: string, pod: string, container?: string): Promise<Heard>;
  /** Lets it ask for updates of its own accord; answers how many failed, and the error. */
  ask(request: object): Promise<{ readonly failed: number; readonly error: string }>;
}

export interface BuiltPlugin extends Disposable {
  readonly program: string;
  /** Starts one and waits until it is connected. */
  start(daemon: Daemon, index: string, name: string): Promise<NriPlugin>;
}

export async function buildPlugin(): Promise<BuiltPlugin> {
  const directory = mkdtempSync(join(tmpdir(), "podrt-nri-"));
  const program = join(directory, "nri-plugin");
  const cwd = join(projectDir, "test/nri-plugin");
  const env = { ...process.env, CGO_ENABLED: "0" };
  const build = Bun.spawn([go!, "build", "-o", program, "."], { cwd, env, stderr: "inherit" });
  if ((await build.exited) !== 0) throw new Error("the NRI plugin does not build");
  return {
    program,
    start: (daemon, index, name) => startPlugin(program, daemon, index, name),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

async function startPlugin(program: string, daemon: Daemon, index: string, name: string): Promise<NriPlugin> {
  const child = spawn(program, [join(daemon.root, "run/nri.sock"), index, name], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const heard: Heard[] = [];
  createInterface(child.stdout).on("line", (line) => heard.push(JSON.parse(line)));
  const plugin: NriPlugin = {
    heard,
    pid: child.pid!,
    hears: (event, pod, container = "") =>
      eventually(`plugin ${index}-${name} hears ${event} of ${pod}/${container}`, () =>
        heard.find((other) => other.event === event && other.pod === pod && other.container === container),
      ),
    async ask(request) {
      const before = heard.filter(({ event }) => event === "Updated").length;
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const answer = await eventually(
        "the update is answered",
        () => heard.filter(({ event }) => event === "Updated")[before],
      );
      return answer as unknown as { failed: number; error: string };
    },
    async [Symbol.asyncDispose]() {
      process.off("exit", killAtExit);
      child.kill("SIGKILL");
      await ended;
    },
  };
  await plugin.hears("Synchronize", "");
  return plugin;
}

/** A container's annotations by which the plugins are told what to do. */
export function asking(
  name: string,
  asked: Readonly<Record<string, string | object>>,
  more: ContainerConfig = {},
) {
  const annotations = Object.entries(asked).map(([key, value]) => [
    `nri.test/${key}`,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return { name, annotations: Object.fromEntries(annotations), ...more } as ContainerConfig & {
    name: string;
  };
}

/** The sentence with which a call that must fail is refused. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error).rawMessage;
  }
  throw new Error("it succeeded");
}
