// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Table } from "../state/table.ts";
import { FakeClock, FakeLifecycle } from "./fake-lifecycle.ts";
import { type Keeper, keepPods } from "./keep-pods.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { PodHome } from "./pod.ts";
import type { PodRecord } from "./pod-record.ts";
import type { ContainerStatus, PodStatus } from "./pod-status.ts";

/** A keeper over a runtime in memory, new for each test. */
export interface KeeperHarness {
  readonly keeper: Keeper;
  readonly runtime: FakeLifecycle;
  readonly clock: FakeClock;
  readonly records: Map<string, PodRecord>;
  readonly home: PodHome;
  /** The daemon ends; `open` is its restart, over the same runtime and records. */
  close(): Promise<void>;
  open(): void;
  /** Runs a pod `p` with this spec. */
  run(spec: string): void;
  /** Of the newest pod. */
  status(): PodStatus;
  /** Of its first container. */
  app(): ContainerStatus;
  /** What became of the pod, each as `TYPE CONTAINER REASON`. */
  readonly notes: string[];
  /** The calls that created containers. */
  creations(): string[];
}

export const ONE = "{containers: [{name: app, image: 'nginx:1'}]}";

/** For use at the top of a test file. */
export function useKeeper(): KeeperHarness {
  const state: { keeper?: Keeper; runtime?: FakeLifecycle; home?: PodHome } = {};
  let clock = new FakeClock();
  let records = new Map<string, PodRecord>();
  const notes: string[] = [];
  const backOff = { firstMs: 10_000, maxMs: 300_000 };
  const open = () => {
    const deps = { lifecycle: state.runtime!, table: tableOf(records), clock, home: state.home!, backOff };
    state.keeper = keepPods({
      ...deps,
      log: () => {},
      note: ({ type, container, reason }) =>
        notes.push([type, container, reason].filter((word) => word !== "").join(" ")),
    });
  };
  beforeEach(() => {
    clock = new FakeClock();
    records = new Map();
    notes.length = 0;
    state.runtime = new FakeLifecycle(clock);
    state.home = {
      stateDir: mkdtempSync(join(tmpdir(), "podrt-keeper-")),
      machineMemoryBytes: 2 ** 33,
      cpuCount: 2,
      nodeName: "node",
      hostAddresses: () => ["192.0.2.9"],
      hostResolvConf: () => "nameserver 192.0.2.1\n",
      hostHosts: () => "127.0.0.1 localhost\n",
      nameServer: () => undefined,
      takenIds: () => [],
    };
    open();
  });
  afterEach(async () => {
    await state.keeper?.close();
    rmSync(state.home!.stateDir, { recursive: true });
  });
  return {
    notes,
    get keeper() {
      return state.keeper!;
    },
    get runtime() {
      return state.runtime!;
    },
    get home() {
      return state.home!;
    },
    get clock() {
      return clock;
    },
    get records() {
      return records;
    },
    close: () => state.keeper!.close(),
    open,
    run: (spec) => state.keeper!.run(parseManifest([{ name: "pod.yaml", text: podText("p", spec) }]).pods),
    status: () => state.keeper!.list()[0]!,
    app: () => state.keeper!.list()[0]!.containers[0]!,
    creations: () => state.runtime!.calls.filter((call) => call.startsWith("createContainer")),
  };
}

/** A manifest on few lines. */
export function podText(name: string, spec: string, metadata = ""): string {
  return `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}${metadata}}\nspec: ${spec}\n`;
}

/** Waits, in real time and without moving the fake one, until `condition` holds. */
export async function until(condition: () => unknown, what: string): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, turn < 100 ? 0 : 1));
  }
  throw new Error(`waited in vain until ${what}`);
}

/** Gives passes in flight the time to end; for asserting that nothing happens. */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A table in memory. */
export function tableOf<T>(map: Map<string, T>): Table<T> {
  return {
    get: (key) => map.get(key),
    // Through JSON, as the database does.
    put: (key, record) => void map.set(key, JSON.parse(JSON.stringify(record))),
    delete: (key) => void map.delete(key),
    keys: () => map.keys(),
    list: () => [...map.values()],
    sync: async () => {},
  };
}
