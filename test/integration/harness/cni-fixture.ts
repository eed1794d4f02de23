// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeEach } from "bun:test";
import { patience } from "../../support/patience.ts";
import {
  addressResult,
  configureNetwork,
  newPluginDirectory,
  type PluginCall,
  type PluginDirectory,
} from "./cni.ts";
import { type Fixture, useDaemon } from "./fixture.ts";

/** A chain of two plugins, the network of the tests' daemon. */
export const chain = {
  cniVersion: "1.0.0",
  name: "chained",
  plugins: [
    { type: "first", ipam: { type: "host-local" }, own: { words: ["kept", 1] } },
    {
      type: "second",
      capabilities: { portMappings: true, bandwidth: true, dns: true, mac: true, ipRanges: false },
    },
  ],
};

/** A daemon whose pods are in a network of the tests' plugins, which before each test is as it should be. */
export interface PluginFixture {
  readonly fixture: Fixture;
  readonly plugins: PluginDirectory;
  /** How long the daemon gives a plugin. */
  readonly timeoutMs: number;
  configure(content: string | object | undefined, file?: string): void;
  /** What a plugin does at a command, until `repair` or the end of the test. */
  behave(plugin: string, command: string, line: string): void;
  repair(): void;
  callsOf(sandboxId: string, ...commands: readonly string[]): PluginCall[];
  sandboxNames(): Promise<string[]>;
  remove(sandboxId: string): Promise<void>;
}

export function usePlugins(): PluginFixture {
  const plugins = newPluginDirectory();
  const timeoutMs = 2000 * patience;
  const directories = `["/nowhere/cni", "${plugins.directory}"]`;
  const fixture = useDaemon({
    network: `cni_plugin_dirs = ${directories}\ncni_timeout_ms = ${timeoutMs}`,
  });
  afterAll(() => plugins[Symbol.dispose]());
  const broken: [plugin: string, command: string][] = [];
  const configure = (content: string | object | undefined, file = "10-chained.conflist") =>
    configureNetwork(fixture.daemon, file, content);
  const repair = () => {
    for (const [plugin, command] of broken.splice(0)) plugins.behave(plugin, command, undefined);
  };
  beforeEach(() => {
    repair();
    plugins.install("first", addressResult("192.0.2.1/24"));
    plugins.install("second");
    plugins.forget();
    configure(chain);
  });
  return {
    fixture,
    plugins,
    timeoutMs,
    configure,
    behave(plugin, command, line) {
      plugins.behave(plugin, command, line);
      broken.push([plugin, command]);
    },
    repair,
    callsOf: (sandboxId, ...commands) =>
      plugins
        .calls()
        .filter(({ containerId, command }) => containerId === sandboxId && commands.includes(command)),
    async sandboxNames() {
      return (await fixture.daemon.api.listPodSandbox({})).items.map(({ metadata }) => metadata!.name);
    },
    async remove(podSandboxId) {
      await fixture.daemon.api.stopPodSandbox({ podSandboxId });
      await fixture.daemon.api.removePodSandbox({ podSandboxId });
    },
  };
}

/** `ADD first`, `DEL second` and so on. */
export function names(calls: readonly PluginCall[]): string[] {
  return calls.map(({ plugin, command }) => `${command} ${plugin}`);
}
