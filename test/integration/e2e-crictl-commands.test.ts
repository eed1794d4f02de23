// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { YAML } from "bun";
import { runCommand } from "./harness/command.ts";
import { inBothForms } from "./harness/crictl.ts";
import { crictlBinary, hasCrictl } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";

const fixture = useDaemon();

/**
 * Every command of crictl, and the files beside this one that run it against the compiled podrt. A command
 * that a newer crictl brings has no line here, and the first test fails until somebody has tried it.
 */
const testedIn: Readonly<Record<string, readonly string[]>> = {
  attach: ["e2e-streaming-crictl", "e2e-crictl-containers"],
  checkpoint: ["e2e-checkpoint", "e2e-crictl-containers"],
  completion: ["e2e-crictl-commands"],
  config: ["e2e-crictl-commands"],
  create: ["e2e-crictl", "e2e-crictl-containers"],
  events: ["e2e-events", "e2e-crictl-lists"],
  exec: ["e2e-crictl", "e2e-streaming-crictl", "e2e-crictl-containers"],
  imagefsinfo: ["e2e-crictl-images"],
  images: ["e2e-crictl", "e2e-crictl-images"],
  info: ["e2e-crictl", "e2e-crictl-commands"],
  inspect: ["e2e-crictl", "e2e-crictl-lists"],
  inspecti: ["e2e-crictl", "e2e-crictl-images"],
  inspectp: ["e2e-crictl", "e2e-crictl-lists"],
  logs: ["e2e-crictl", "e2e-crictl-containers"],
  metricdescs: ["e2e-metrics", "e2e-crictl-lists"],
  metricsp: ["e2e-metrics", "e2e-crictl-lists"],
  pods: ["e2e-crictl", "e2e-crictl-lists"],
  "port-forward": ["e2e-streaming-crictl", "e2e-crictl-containers"],
  ps: ["e2e-crictl", "e2e-crictl-lists"],
  pull: ["e2e-crictl", "e2e-crictl-images"],
  rm: ["e2e-crictl", "e2e-crictl-containers"],
  rmi: ["e2e-crictl", "e2e-crictl-images"],
  rmp: ["e2e-crictl", "e2e-crictl-containers"],
  run: ["e2e-crictl-containers"],
  runp: ["e2e-crictl", "e2e-crictl-containers"],
  "runtime-config": ["e2e-crictl-commands"],
  start: ["e2e-crictl", "e2e-crictl-containers"],
  stats: ["e2e-metrics", "e2e-crictl-lists"],
  statsp: ["e2e-metrics", "e2e-crictl-lists"],
  stop: ["e2e-crictl", "e2e-crictl-containers"],
  stopp: ["e2e-crictl", "e2e-crictl-containers"],
  update: ["e2e-crictl-containers"],
  "update-runtime-config": ["e2e-crictl-commands"],
  version: ["e2e-crictl", "e2e-crictl-commands"],
};

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl", () => {
  test("has no command that nobody tried", async () => {
    const help = await fixture.daemon.crictl("--help");
    const listed = /^COMMANDS:\n([\s\S]*?)\n\n/m.exec(help)?.[1]?.split("\n") ?? [];
    const names = listed.map((line) => /^ {3}([a-z-]+)/.exec(line)?.[1]);
    expect(names.filter((name) => name !== "help")).toEqual(Object.keys(testedIn));
    for (const [command, files] of Object.entries(testedIn)) {
      for (const file of files) {
        const text = readFileSync(join(import.meta.dir, `${file}.test.ts`), "utf8").replace(
          /testedIn[\s\S]*?\n};/,
          "",
        );
        expect(text, `${file} runs crictl ${command}`).toContain(`"${command}"`);
      }
    }
  });

  test("version", async () => {
    const lines = (await fixture.daemon.crictl("version")).trim().split("\n");
    expect(lines.map((line) => line.split(/:\s+/))).toEqual([
      ["Version", "0.1.0"],
      ["RuntimeName", "podrt"],
      ["RuntimeVersion", expect.stringMatching(/^\d+\.\d+\.\d+/) as never],
      ["RuntimeApiVersion", "v1"],
    ]);
  });

  test("info, in its three forms, with and without what is verbose", async () => {
    const { daemon } = fixture;
    const info = await inBothForms<Record<string, unknown>>(daemon, "info");
    expect(info["config"]).toMatchObject({ socket: daemon.socket });
    expect(info["runtimeHandlers"]).toContainEqual({
      name: "podrt",
      features: expect.objectContaining({ recursive_read_only_mounts: true }) as never,
    });
    const quiet = await inBothForms<Record<string, unknown>>(daemon, "info", "-q");
    expect(Object.keys(quiet).sort()).toEqual(["features", "runtimeHandlers", "status"]);
    const template = "{{range .status.conditions}}{{.type}}={{.status}} {{end}}";
    expect(await daemon.crictl("info", "-o", "go-template", "--template", template)).toBe(
      "RuntimeReady=true NetworkReady=true StateIntact=true \n",
    );
    // kubeadm asks so before it pulls its own, and then whether that is there.
    const image = await daemon.crictl("info", "-o", "go-template", "--template", "{{.config.sandboxImage}}");
    expect(await daemon.crictl("inspecti", "-q", image.trim())).toContain('"pinned": true');
  });

  test("runtime-config and update-runtime-config", async () => {
    const { daemon } = fixture;
    expect(await daemon.crictl("runtime-config")).toMatch(/^cgroup driver: +CGROUPFS$/m);
    const { code, stderr } = await daemon.crictlResult("update-runtime-config", "--pod-cidr", "10.1.0.0/24");
    expect(stderr).toContain("Runtime config successfully updated");
    expect(code).toBe(0);
    const refused = await daemon.crictlResult("update-runtime-config", "--pod-cidr", "10.1.0.0/99");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/code = InvalidArgument desc = .*pod_cidr: .*10\.1\.0\.0\/99/);
  });

  test("config: crictl reaches podrt by its own file alone", async () => {
    const { daemon } = fixture;
    const file = join(daemon.root, "crictl-own.yaml");
    const own = (...args: readonly string[]) => runCommand(crictlBinary, ["--config", file, ...args]);
    await Bun.write(file, "");
    for (const setting of [`runtime-endpoint=unix://${daemon.socket}`, "timeout=30"]) {
      expect(await own("config", "--set", setting)).toMatchObject({ code: 0 });
    }
    expect((await own("config", "--get", "timeout")).stdout).toBe("30\n");
    expect((await own("config", "--list")).stdout).toContain(`unix://${daemon.socket}`);
    expect(YAML.parse(await Bun.file(file).text())).toMatchObject({ timeout: 30 });
    expect((await own("version")).stdout).toContain("podrt");
    expect(await own("config", "--get", "nothing")).toMatchObject({ code: 1 });
  });

  test("completion", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      expect(await fixture.daemon.crictl("completion", shell)).toContain(
        "_crictl".slice(shell === "fish" ? 1 : 0),
      );
    }
    expect((await fixture.daemon.crictlResult("completion", "nosuch")).code).toBe(1);
  });

  const missing = "feedfacefeedface";
  const noContainer = `code = NotFound desc = there is no container \\"${missing}\\"`;
  const noSandbox = `code = NotFound desc = there is no pod sandbox \\"${missing}\\"`;

  test.each<[string, readonly string[], string]>([
    ["start", [missing], noContainer],
    ["rm", [missing], noContainer],
    ["exec", [missing, "true"], noContainer],
    ["exec", ["-s", missing, "true"], noContainer],
    ["exec", ["-r", "websocket", missing, "true"], noContainer],
    ["attach", [missing], noContainer],
    ["attach", ["-r", "websocket", missing], noContainer],
    ["logs", [missing], noContainer],
    ["inspect", [missing], noContainer],
    ["update", ["--memory", "67108864", missing], noContainer],
    ["inspectp", [missing], noSandbox],
    ["rmp", [missing], noSandbox],
    ["port-forward", [missing, "80"], noSandbox],
    ["port-forward", ["-r", "websocket", missing, "80"], noSandbox],
    ["inspecti", [missing], `no such image \\"${missing}\\" present`],
    ["rmi", [missing], `no such image ${missing}`],
  ])("%s %j of what is not there", async (command, args, sentence) => {
    const { code, stdout, stderr } = await fixture.daemon.crictlResult(command, ...args);
    expect(stderr).toContain(sentence);
    expect(stdout).toBe("");
    expect(code).toBe(1);
  });

  test("stop and stopp of what is not there succeed, and lists of it are empty", async () => {
    const { daemon } = fixture;
    expect(await daemon.crictl("stop", missing)).toBe(`${missing}\n`);
    expect(await daemon.crictl("stopp", missing)).toBe(`Stopped sandbox ${missing}\n`);
    expect(await daemon.crictl("ps", "-a", "-q", "--id", missing)).toBe("");
    expect(await daemon.crictl("pods", "-q", "--id", missing)).toBe("");
    expect(await inBothForms<object>(daemon, "stats", "--id", missing)).toEqual({ stats: [] });
    expect(await inBothForms<object>(daemon, "statsp", "--id", missing)).toEqual({ stats: [] });
  });
});
