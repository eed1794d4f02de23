// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { YAML } from "bun";
import { crictlBinary, type Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";

/** What crictl is given for a pod and for a container: the messages of the interface, as JSON with its field names. */
export interface CrictlFiles {
  pod(name: string, more?: object): string;
  container(name: string, more?: object): string;
  /** Where the containers' `log_path` begins. */
  readonly logs: string;
}

export function crictlFiles(daemon: Daemon): CrictlFiles {
  const dir = join(daemon.root, "crictl");
  const logs = join(dir, "logs");
  mkdirSync(logs, { recursive: true });
  const file = (name: string, content: object) => {
    writeFileSync(join(dir, name), JSON.stringify(content));
    return join(dir, name);
  };
  return {
    logs,
    pod: (name, more = {}) =>
      file(`pod-${name}.json`, {
        metadata: { name, namespace: "shop", uid: `uid-${name}`, attempt: 1 },
        log_directory: logs,
        ...more,
      }),
    container: (name, more = {}) =>
      file(`container-${name}.json`, {
        metadata: { name, attempt: 2 },
        image: { image: "busybox" },
        command: ["sleep", "3600"],
        log_path: `${name}.log`,
        ...more,
      }),
  };
}

/** The labels that a kubelet gives; crictl's POD and NAMESPACE columns come from them. */
export function kubernetesLabels(pod: string): Readonly<Record<string, string>> {
  return { "io.kubernetes.pod.name": pod, "io.kubernetes.pod.namespace": "shop" };
}

/** The same answer in both forms, which must be equal; answers it. */
export async function inBothForms<T>(
  daemon: Daemon,
  command: string,
  ...args: readonly string[]
): Promise<T> {
  const json: unknown = JSON.parse(await daemon.crictl(command, "-o", "json", ...args));
  const yaml = YAML.parse(await daemon.crictl(command, "-o", "yaml", ...args));
  if (!Bun.deepEquals(withoutTimes(json), withoutTimes(yaml))) {
    throw new Error(
      `crictl ${command} ${args.join(" ")}: ${JSON.stringify(json)} as JSON, ${JSON.stringify(yaml)} as YAML`,
    );
  }
  return json as T;
}

/** Measurements differ between two calls; only the names of fields are compared below these. */
const MEASURED = ["cpu", "memory", "io", "swap", "writableLayer", "network", "process", "value", "usedBytes"];

function withoutTimes(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner: unknown) => {
      if (key === "timestamp") return "a time";
      return MEASURED.includes(key) ? "measured" : inner;
    }),
  );
}

/** Rows of a table of crictl's, by the names of its columns. */
export function tableOf(text: string): Readonly<Record<string, string>>[] {
  // stats begins with the codes that clear a terminal.
  const [head = "", ...rows] = Bun.stripANSI(text).trimEnd().split("\n");
  const columns = [...head.matchAll(/\S+(?: \S+)*/g)].map((match) => ({ name: match[0], at: match.index }));
  return rows.map((row) =>
    Object.fromEntries(
      columns.map(({ name, at }, index) => [name, row.slice(at, columns[index + 1]?.at).trim()]),
    ),
  );
}

/** crictl while it runs: what it has printed, until it is ended. */
export class RunningCrictl implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #reading: Promise<void>;
  #printed = "";

  constructor(daemon: Daemon, ...args: readonly string[]) {
    this.#child = Bun.spawn([crictlBinary, "--runtime-endpoint", `unix://${daemon.socket}`, ...args], {
      env: { ...process.env, CRI_CONFIG_FILE: join(daemon.root, "crictl.yaml") },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#reading = this.#read();
  }

  get printed(): string {
    return this.#printed;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  prints(text: string): Promise<boolean> {
    return eventually(`crictl prints ${text}`, () => {
      if (this.#printed.includes(text)) return true;
      throw new Error(JSON.stringify(this.#printed));
    });
  }

  async #read(): Promise<void> {
    for await (const chunk of this.#child.stdout) this.#printed += Buffer.from(chunk).toString();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await this.#reading;
  }
}
