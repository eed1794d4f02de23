// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { names, usePlugins } from "./harness/cni-fixture.ts";
import { eventually } from "./harness/eventually.ts";
import { runSandbox, sandboxStatus } from "./harness/pods.ts";
import { allPids, isAlive, statusField } from "./harness/proc.ts";

// Plugins that fail, hang or die, at each place of a chain, and a daemon that dies while they work.

const { fixture, plugins, timeoutMs, behave, repair, callsOf, sandboxNames, remove } = usePlugins();

describe("a plugin that fails at ADD", () => {
  const error = '{"code": 11, "msg": "no more addresses", "details": "of\\n192.0.2.0/24"}';
  test.each([
    [
      "with an error of the specification",
      `printf '%s' '${error}'; exit 1`,
      "failed with code 11: no more addresses (of 192.0.2.0/24)",
    ],
    ["with words", "echo all is lost >&2; exit 3", "failed with exit code 3: all is lost"],
    ["without a word", "exit 1", "failed with exit code 1: it said nothing"],
    ["by a signal", "kill -SEGV $$", "failed with SIGSEGV: it said nothing"],
    ["with garbage", "echo hello; exit 0", "the result is no JSON"],
    [
      "with a wrong result",
      `echo '{"ips":[{"address":"192.0.2.300/24"}]}'; exit 0`,
      "the result is wrong: ips.0.address: is no address",
    ],
    ["with nothing", "exit 0", "the result is no JSON"],
    ["with a flood", "exec yes", "wrote more than 1048576 bytes and was killed"],
  ])("%s fails the pod, and leaves nothing", async (_, line, message) => {
    const { daemon } = fixture;
    for (const plugin of ["first", "second"]) {
      plugins.forget();
      behave(plugin, "ADD", line);
      const run = runSandbox(daemon, "failing");
      await expect(run).rejects.toThrow(`network chained: ADD by plugin ${plugin}`);
      await expect(run).rejects.toThrow(message);
      repair();
      expect(await sandboxNames()).not.toContain("failing");
      const calls = plugins.calls().filter(({ command }) => command === "ADD" || command === "DEL");
      const added = plugin === "first" ? ["ADD first"] : ["ADD first", "ADD second"];
      expect(names(calls)).toEqual([...added, "DEL second", "DEL first"]);
      const { pid } = calls.at(added.length - 1)!;
      expect(isAlive(pid)).toBe(false);
    }
    expect(await daemon.leftovers()).toEqual([]);
    await remove(await runSandbox(daemon, "failing"));
  });

  test("by hanging is killed with all that it has started, and fails the pod", async () => {
    const { daemon } = fixture;
    behave("second", "ADD", "sleep 600");
    await expect(runSandbox(daemon, "failing")).rejects.toThrow(
      `network chained: ADD by plugin second: it did not end within ${timeoutMs} ms and was killed`,
    );
    const { pid } = plugins.calls().find(({ plugin, command }) => plugin === "second" && command === "ADD")!;
    // Its session is its own, so everything with that number was started by it.
    await eventually("nothing of it is left", () =>
      allPids().every((other) => statusField(other, "NSsid") !== `${pid}` || !isAlive(other)),
    );
    expect(await sandboxNames()).not.toContain("failing");
    expect(await daemon.leftovers()).toEqual([]);
  });

  test("and at DEL too leaves a pod that is not ready, which can be removed", async () => {
    const { daemon } = fixture;
    behave("second", "ADD", "exit 1");
    behave("second", "DEL", "exit 1");
    await expect(runSandbox(daemon, "stuck")).rejects.toThrow("network chained: ADD by plugin second");
    const { items } = await daemon.api.listPodSandbox({});
    expect(items).toMatchObject([{ metadata: { name: "stuck" }, state: PodSandboxState.SANDBOX_NOTREADY }]);
    repair();
    await remove(items[0]!.id);
    expect(await daemon.leftovers()).toEqual([]);
    await remove(await runSandbox(daemon, "stuck"));
  });

  test("with no address for the pod fails it too", async () => {
    plugins.install("second", { cniVersion: "1.0.0", interfaces: [{ name: "veth1" }] });
    await expect(runSandbox(fixture.daemon, "nowhere")).rejects.toThrow(
      "network chained: ADD by plugin second: the result has no address for eth0",
    );
    expect(await sandboxNames()).not.toContain("nowhere");
  });
});

describe("a plugin that fails at DEL", () => {
  test.each([
    ["first", 'echo \'{"code": 100, "msg": "not yet"}\'; exit 1', "failed with code 100: not yet"],
    ["second", "sleep 600", "and was killed"],
  ])("%s fails the stop, and is asked again until it succeeds", async (plugin, line, message) => {
    const { daemon } = fixture;
    const id = await runSandbox(daemon, "held");
    behave(plugin, "DEL", line);
    const stop = daemon.api.stopPodSandbox({ podSandboxId: id });
    await expect(stop).rejects.toThrow(`network chained: DEL by plugin ${plugin}`);
    await expect(stop).rejects.toThrow(message);
    expect((await sandboxStatus(daemon, id)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
    const pin = join(daemon.root, "run/pods", id, "netns");
    expect(existsSync(pin)).toBe(true);
    repair();
    // Nobody repeats the call.
    await eventually("DEL has succeeded", () => !existsSync(pin), 20_000);
    plugins.forget();
    await remove(id);
    expect(callsOf(id, "DEL")).toEqual([]);
  });

  test("does not keep another pod from coming and going", async () => {
    const { daemon } = fixture;
    const id = await runSandbox(daemon, "held");
    behave("first", "DEL", `[ $CNI_CONTAINERID != ${id} ] || exec sleep 600`);
    const stop = daemon.api.stopPodSandbox({ podSandboxId: id }).catch(() => {});
    await eventually("DEL has begun", () => callsOf(id, "DEL").length > 1);
    await remove(await runSandbox(daemon, "other"));
    repair();
    process.kill(callsOf(id, "DEL").at(-1)!.pid, "SIGKILL");
    await stop;
    await remove(id);
  });

  test("is asked again by the next daemon, which serves meanwhile", async () => {
    const { daemon } = fixture;
    const id = await runSandbox(daemon, "held");
    behave("first", "DEL", `[ $CNI_CONTAINERID != ${id} ] || exec sleep 600`);
    const stop = daemon.api.removePodSandbox({ podSandboxId: id }).catch(() => {});
    await eventually("DEL has begun", () => callsOf(id, "DEL").length > 1);
    const { pid } = callsOf(id, "DEL").at(-1)!;
    await daemon.kill();
    await stop;
    await eventually("the plugin has ended with the daemon", () => !isAlive(pid));
    behave("first", "DEL", `[ $CNI_CONTAINERID != ${id} ] || exit 1`);
    await daemon.start();
    await remove(await runSandbox(daemon, "other"));
    repair();
    const pin = join(daemon.root, "run/pods", id, "netns");
    await eventually("DEL has succeeded", () => !existsSync(pin), 20_000);
    await daemon.api.removePodSandbox({ podSandboxId: id });
  });
});

describe("a daemon that dies during ADD", () => {
  /** The id of a pod whose ADD the daemon did not live to see the end of. */
  async function interrupted(): Promise<string> {
    behave("second", "ADD", "exec sleep 600");
    const run = runSandbox(fixture.daemon, "interrupted").catch(() => {});
    const call = await eventually("ADD has begun", () =>
      plugins.calls().find(({ plugin, command }) => plugin === "second" && command === "ADD"),
    );
    await fixture.daemon.kill();
    await run;
    repair();
    return call.containerId;
  }

  test("leaves it to the next to take that back", async () => {
    const { daemon } = fixture;
    const id = await interrupted();
    await daemon.start();
    expect(await sandboxNames()).toEqual([]);
    expect(names(callsOf(id, "DEL"))).toEqual(["DEL second", "DEL first"]);
    // Nobody knows what ADD would have answered.
    expect(callsOf(id, "DEL")[0]!.conf).not.toHaveProperty("prevResult");
    expect(await daemon.leftovers()).toEqual([]);
  });

  test("and whose next cannot take it back, has a pod that is not ready, which can be removed", async () => {
    const { daemon } = fixture;
    const id = await interrupted();
    behave("first", "DEL", "exit 1");
    await daemon.start();
    expect(await sandboxNames()).toEqual(["interrupted"]);
    expect((await sandboxStatus(daemon, id)).state).toBe(PodSandboxState.SANDBOX_NOTREADY);
    await expect(remove(id)).rejects.toThrow("network chained: DEL by plugin first");
    repair();
    await remove(id);
    expect(await daemon.leftovers()).toEqual([]);
  });
});
