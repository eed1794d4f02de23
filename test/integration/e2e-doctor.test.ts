// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../src/linux/cgroup/host.ts";
import { pathsFor } from "../../src/paths.ts";
import { projectDir } from "../fixtures/images/packages.ts";
import { outputOf, runCommand } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";

const fixture = useDaemon();

const well = `
apiVersion: v1
kind: Pod
metadata: {name: well}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: busybox, command: [sleep, "1000"]}]
`;

interface Examined {
  readonly findings: readonly {
    area: string;
    check: string;
    verdict: string;
    text: string;
    advice?: string;
    fix?: string;
  }[];
  readonly mended: readonly { what: string; problem?: string }[];
}

test("doctor finds what nobody owns, removes it when told to, and leaves what runs alone", async () => {
  const { daemon } = fixture;
  const paths = pathsFor(daemon.root);
  const doctor = async (...options: string[]) => {
    const ran = await daemon.podrt("doctor", "-o", "json", ...options);
    return { code: ran.code, ...(JSON.parse(ran.stdout) as Examined) };
  };
  expect(await daemon.podrtWith({ stdin: well }, "run", "--detach", "-")).toMatchObject({ code: 0 });
  const pod = await runningPod(daemon, "well");
  const before = await doctor();
  const own = before.findings.filter(({ area }) => area === "podrt");
  expect(own.filter(({ verdict }) => verdict !== "ok")).toEqual([]);
  expect(own.map(({ check }) => check)).toContain("cgroups");
  expect(before.findings.map(({ check }) => check)).toContain("firewall");

  const lost = "a".repeat(64);
  mkdirSync(join(paths.podsDir, lost, "shm"), { recursive: true });
  mkdirSync(join(paths.containersDir, lost));
  const { parent } = loadConfig(paths, paths.configFile).cgroup;
  const cgroup = openCgroup(detectCgroups(), join(parent, lost));
  cgroup.create();
  const sick = await doctor();
  const found = sick.findings.flatMap(({ verdict, check, fix }) =>
    fix === undefined ? [] : [`${verdict} ${check}`],
  );
  expect(found).toEqual(["warning run directories", "warning cgroups", "warning snapshots"]);
  // Nothing is done unless it is asked for.
  expect(existsSync(join(paths.podsDir, lost))).toBe(true);
  const mended = await doctor("--fix");
  expect(mended.mended.map(({ problem }) => problem)).toEqual([undefined, undefined, undefined]);
  expect(existsSync(join(paths.podsDir, lost))).toBe(false);
  expect(existsSync(join(paths.containersDir, lost))).toBe(false);
  expect(cgroup.exists()).toBe(false);
  expect(mended.findings.filter(({ fix }) => fix !== undefined)).toEqual([]);
  expect((await runningPod(daemon, "well")).sandboxId).toBe(pod.sandboxId);
  expect((await daemon.podrt("rm", "-f", "well")).code).toBe(0);

  const file = join(daemon.root, "broken.toml");
  writeFileSync(file, "[network]\nbridge = 7\n");
  const broken = await doctor("--config", file);
  expect(broken.code).toBe(1);
  expect(broken.findings).toEqual([expect.objectContaining({ check: "configuration", verdict: "failure" })]);
  rmSync(file);
});

const hasNft = Bun.which("nft") !== null;

// Needs nft, to keep pods of the test's own bridge from the name server by a table of the test's own.
test.skipIf(!hasNft)(
  "doctor asks the name server as pods do, and names the rule that would let them",
  async () => {
    const { daemon } = fixture;
    const { bridge } = loadConfig(pathsFor(daemon.root), pathsFor(daemon.root).configFile).network;
    const asked = async () => {
      const { findings } = JSON.parse((await daemon.podrt("doctor", "-o", "json")).stdout) as Examined;
      const [found] = findings.filter(({ check }) => check === "name server");
      return found!;
    };
    expect((await asked()).text).not.toContain("pods get");
    expect(await daemon.podrtWith({ stdin: well }, "run", "--detach", "-")).toMatchObject({ code: 0 });
    await runningPod(daemon, "well");
    expect(await asked()).toMatchObject({
      verdict: "ok",
      text: expect.stringContaining("pods get answers from"),
    });
    const table = `podrt_doctor_${process.pid}`;
    const nft = (...rules: string[]) => outputOf("nft", [rules.map((rule) => `add ${rule}`).join("; ")]);
    try {
      await nft(`table inet ${table}`, `chain inet ${table} in { type filter hook input priority 0; }`);
      await nft(`rule inet ${table} in iifname ${bridge} udp dport 53 drop`);
      const dropped = await asked();
      expect(dropped.verdict).toBe("warning");
      expect(dropped.text).toContain("no answer over UDP from");
      expect(dropped.text).toContain(`a firewall drops or refuses what comes in on ${bridge} (recvfrom`);
      await nft(`rule inet ${table} in iifname ${bridge} tcp dport 53 reject`);
      const { text, advice } = await asked();
      expect(text).toContain("no answer over UDP and TCP from");
      const [fix] = new RegExp(`nft insert rule inet ${table} [^;]*`).exec(advice ?? "") ?? [];
      await outputOf("sh", ["-c", fix!]);
      expect((await asked()).verdict).toBe("ok");
    } finally {
      await outputOf("nft", [`delete table inet ${table}`]);
    }
    expect((await daemon.podrt("rm", "-f", "well")).code).toBe(0);
  },
);

// Needs nft, to make a firewall in a network namespace of the test's own.
test.skipIf(!hasNft)("doctor goes by policies where there is no pod to ask from", async () => {
  const chain = "chain inet t i { type filter hook input priority 0; policy drop; }";
  const ask = `
    const { nameServer } = await import("./src/cli/doctor/firewall.ts");
    const { pathsFor } = await import("./src/paths.ts");
    const { loadConfig } = await import("./src/config.ts");
    const paths = pathsFor("/nonexistent");
    console.log(JSON.stringify(await nameServer(paths, loadConfig(paths, undefined), true)));`;
  const script = `nft 'add table inet t; add ${chain}' && exec "$0" -e "$1"`;
  const { stdout } = await runCommand("unshare", ["--net", "sh", "-c", script, process.execPath, ask], {
    cwd: projectDir,
  });
  expect(JSON.parse(stdout)).toEqual([
    {
      verdict: "warning",
      text: "chain i of table inet t drops what comes in and is not accepted: pods may get no answer from podrt's name server",
      advice: expect.stringMatching(
        /^run a pod and look again, which asks it; let port 53 in on \S+, as in: nft insert rule/,
      ),
    },
  ]);
});

// Needs nft, to make a firewall in a network namespace of the test's own.
test.skipIf(!hasNft)(
  "doctor tells of a firewall that drops what is forwarded, and of a daemon that does not run",
  async () => {
    const root = mkdtempSync(join(tmpdir(), "podrt-doctor-"));
    try {
      const firewall =
        "add table ip t; add chain ip t f { type filter hook forward priority 0; policy drop; }";
      const script = `nft '${firewall}' && exec ${binary} doctor --root ${root}`;
      const ran = await runCommand("unshare", ["--net", "sh", "-c", script]);
      expect(ran.stdout).toContain("chain f of table ip t drops what is forwarded");
      expect(ran.stdout).toContain("it does not run");
      expect(ran.stdout).toContain(" 0 failures\n");
      expect(ran.code).toBe(0);
      // A port that the configuration wants and somebody else has.
      const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
      writeFileSync(join(root, "config.toml"), `[streaming]\nport = ${server.port}\n`);
      const taken = await runCommand(binary, ["doctor", "--root", root]);
      server.stop(true);
      expect(taken.stdout).toContain(`port ${server.port} for streaming is taken`);
      expect(taken.code).toBe(1);
    } finally {
      rmSync(root, { recursive: true });
    }
  },
);
