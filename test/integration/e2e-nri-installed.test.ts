// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { asking, type BuiltPlugin, buildPlugin, go, type Heard } from "./harness/nri-plugin.ts";
import { runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";

if (go === null) console.log("skipped: NRI plugins, because Go is not installed");

// Without Go there is no plugin, as said above.
describe.skipIf(go === null)("NRI plugins", () => {
  const fixture = useDaemon({ config: "[nri]\nenabled = true\n" });
  const dir = mkdtempSync(join(tmpdir(), "podrt-nri-files-"));
  let built: BuiltPlugin;

  beforeAll(async () => {
    built = await buildPlugin();
  }, 300_000);

  afterAll(() => {
    built?.[Symbol.dispose]();
    rmSync(dir, { recursive: true });
  });

  test("that are installed are started with the daemon and their configuration, and end with it", async () => {
    const { daemon } = fixture;
    const [plugins, configs] = [join(daemon.root, "nri/plugins"), join(daemon.root, "nri/conf.d")];
    for (const path of [plugins, configs]) mkdirSync(path, { recursive: true });
    const script = (name: string, text: string) =>
      writeFileSync(join(plugins, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    for (const name of ["10-first", "20-stays"]) {
      copyFileSync(built.program, join(plugins, name));
      const configuration = { Say: join(dir, name), Stays: name === "20-stays" };
      writeFileSync(join(configs, `${name}.conf`), JSON.stringify(configuration));
    }
    script("30-quits", "exit 1");
    script("40-deaf", `echo $$ >${join(dir, "deaf")}; exec 3<&-; exec sleep 3600`);
    writeFileSync(join(plugins, "50-none"), "no program", { mode: 0o755 });
    const heardBy = (name: string) =>
      readFileSync(join(dir, name), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Heard);
    const pidsOf = (name: string) =>
      heardBy(name).flatMap(({ event, pid }) => (event === "Configured" ? [Number(pid)] : []));

    const pod = await runSandbox(daemon, "served");
    await daemon.kill();
    await daemon.start();
    // Whoever can call the daemon can rely on them.
    expect(heardBy("10-first")).toMatchObject([
      {
        event: "Configured",
        runtime: "podrt",
        environment: ["NRI_PLUGIN_NAME=first", "NRI_PLUGIN_IDX=10", "NRI_PLUGIN_SOCKET=3"],
      },
      { event: "Synchronize", names: ["served"] },
    ]);
    const adjust = { env: [{ key: "ADDED", value: "by an installed one" }] };
    const id = await runContainer(daemon, pod, asking("app", { "20.adjust": adjust }));
    expect(await shellIn(daemon, id, "echo $ADDED")).toBe("by an installed one");
    expect(heardBy("10-first").some(({ event }) => event === "StartContainer")).toBe(true);
    for (const problem of [
      "NRI plugin 30-quits is sent away: the plugin closed the connection",
      "NRI plugin 40-deaf is sent away: the plugin closed the connection",
      "NRI plugin 50-none cannot be started: ",
    ])
      expect(daemon.log()).toContain(problem);
    // One that goes away is not started again; one whose connection ends is ended.
    const [first = 0] = pidsOf("10-first");
    const deaf = Number(readFileSync(join(dir, "deaf"), "utf8"));
    process.kill(first, "SIGKILL");
    await eventually("its end is noticed", () => daemon.log().includes("NRI plugin 10-first is gone"));
    await eventually("neither is left", () => ![first, deaf].some((pid) => existsSync(`/proc/${pid}`)));
    await runContainer(daemon, pod, asking("more", { "20.adjust": adjust }));

    const [stays = 0] = pidsOf("20-stays");
    await daemon.kill();
    await eventually("it ends with the daemon", () => !isAlive(stays));
    await daemon.start();
    expect(pidsOf("10-first")).toHaveLength(2);
    expect(pidsOf("20-stays")).toHaveLength(2);
    await daemon.api.removePodSandbox({ podSandboxId: pod });
    const again = pidsOf("20-stays")[1]!;
    expect(isAlive(again)).toBe(true);
    process.kill(daemon.pid(), "SIGTERM");
    await eventually("the daemon has ended", () => !isAlive(daemon.pid()));
    expect(isAlive(again)).toBe(false);
    const words = daemon
      .log()
      .split("\n")
      .filter((line) => line.includes("a plugin's last words"));
    expect(words.map((line) => JSON.parse(line).plugin).sort()).toEqual(["10-first", "20-stays"]);
    rmSync(plugins, { recursive: true });
    await daemon.start();
  });
});
