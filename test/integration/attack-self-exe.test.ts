// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { O_RDONLY } from "../../src/linux/abi/fcntl.ts";
import { open } from "../../src/linux/fd.ts";
import { MONITOR_ELF, PAUSE_ELF } from "../../src/linux/machine-code.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { importHostile } from "./harness/hostile.ts";
import { containerPid, execIn, pausePid, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { parentOf, procLink, statusField } from "./harness/proc.ts";

/*
 * Overwriting the runtime through /proc/self/exe (CVE-2019-5736): a container makes the runtime execute itself,
 * or catches it before its execve, keeps its executable open, and writes to it once it runs no more.
 * Here that executable is a sealed memfd, and the program that the machine runs is never in a container.
 */

const fixture = useDaemon();
const SYS_PTRACE = { capabilities: { addCapabilities: ["SYS_PTRACE"] } };
const namespaceOptions = { pid: NamespaceMode.POD };
let sandboxId: string;
let pause: number;
let image: string;
let before: string;

const hashOf = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Opens the executable of each process that goes by, and tries whatever one can do with what it got. */
const thief = `
attempt() { if (eval "$1") 2>>/refused; then echo "$1" >>/done; fi; }
while :; do
  for process in /proc/[0-9]*; do
    case $(readlink $process/exe) in *podrt*) {
      case $(readlink /proc/self/fd/9) in *podrt*)
        echo caught >>/caught
        attempt 'echo pwned >/proc/self/fd/9'
        attempt 'echo pwned >>/proc/self/fd/9'
        attempt 'dd if=/bin/busybox of=/proc/self/fd/9 bs=64 count=1 conv=notrunc'
        attempt 'truncate -s 0 /proc/self/fd/9'
        attempt 'chmod 0 /proc/self/fd/9'
      esac
    } 9<$process/exe
    esac
  done
done 2>/dev/null`;

beforeAll(async () => {
  const { daemon } = fixture;
  before = hashOf(binary);
  image = await importHostile(daemon, "self-exe", {
    layers: [
      [
        { name: "evil", mode: 0o755, content: "#!/proc/self/exe\n" },
        { name: "bin/overwrite", mode: 0o755, content: `#!/bin/sh\n${thief}\n` },
      ],
    ],
  });
  const linux = { securityContext: { namespaceOptions } } as never;
  sandboxId = await runSandbox(daemon, "self-exe", { linux });
  pause = await pausePid(daemon, sandboxId);
});

const run = (name: string, command: string[], security: object = {}) =>
  runContainer(fixture.daemon, sandboxId, {
    name,
    command,
    image: { image },
    linux: { securityContext: { namespaceOptions, ...security } } as never,
  });

async function expectUntouched(): Promise<void> {
  expect(hashOf(binary)).toBe(before);
  expect(readFileSync(`/proc/${pause}/exe`).equals(Buffer.from(PAUSE_ELF))).toBe(true);
  expect(readFileSync(`/proc/${parentOf(pause)}/exe`).equals(Buffer.from(MONITOR_ELF))).toBe(true);
  for (const pid of [pause, parentOf(pause)]) expect(statSync(`/proc/${pid}/exe`).mode & 0o111).toBe(0o111);
  const { daemon } = fixture;
  const another = await runSandbox(daemon, "another");
  await daemon.api.removePodSandbox({ podSandboxId: another });
}

test("an entrypoint that is an interpreter line of /proc/self/exe gets the sealed stub, which nobody can write to", async () => {
  const { daemon } = fixture;
  const stub = await run("interpreted", ["/evil"]);
  const pid = await containerPid(daemon, stub);
  expect(procLink(`/proc/${pid}/exe`)).toStartWith("/memfd:podrt-monitor");
  const attacker = await run("attacker", ["/bin/overwrite"], SYS_PTRACE);
  const seen = await eventually("the attacker has opened the stub", async () =>
    shellIn(daemon, attacker, "cat /caught"),
  );
  expect(seen).toContain("caught");
  await eventually("every attempt was refused", async () => {
    return Number(await shellIn(daemon, attacker, "wc -l </refused")) >= 5;
  });
  expect((await execIn(daemon, attacker, "cat", "/done")).stdout).toBe("");
  await expectUntouched();
  for (const containerId of [stub, attacker]) await daemon.api.removeContainer({ containerId });
});

test("executed commands that are caught before their execve give nothing away, with SYS_PTRACE or without", async () => {
  const { daemon } = fixture;
  const plain = await run("plain-thief", ["/bin/overwrite"]);
  const tracer = await run("tracing-thief", ["/bin/overwrite"], SYS_PTRACE);
  const victim = await run("victim", ["sleep", "3600"]);
  const endMs = performance.now() + 3000;
  let execs = 0;
  while (performance.now() < endMs) {
    const answers = await Promise.all([1, 2, 3, 4].map(() => execIn(daemon, victim, "/bin/true")));
    expect(answers.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    execs += answers.length;
  }
  expect(execs).toBeGreaterThan(4);
  expect((await execIn(daemon, tracer, "cat", "/done")).stdout).toBe("");
  // Without that capability a process that is not dumpable shows nothing of itself.
  expect((await execIn(daemon, plain, "cat", "/caught")).code).not.toBe(0);
  await expectUntouched();
});

test("an exec whose program is the stub ends at its time limit like any other", async () => {
  const { daemon } = fixture;
  const id = await run("exec-evil", ["sleep", "3600"]);
  await expect(daemon.api.execSync({ containerId: id, cmd: ["/evil"], timeout: 1n })).rejects.toThrow(
    "did not end within 1000 ms and was killed",
  );
  await expectUntouched();
});

test("the program that the machine runs is in no container, nor is the daemon among its processes", async () => {
  const { daemon } = fixture;
  const id = await run("looker", ["sleep", "3600"], SYS_PTRACE);
  const names = await shellIn(daemon, id, "for p in /proc/[0-9]*; do readlink $p/exe; done | sort -u");
  expect(names.split("\n").filter((name) => name.includes("podrt"))).toEqual(
    names.includes("podrt-pause") ? ["/memfd:podrt-pause (deleted)"] : [],
  );
  expect(statusField(daemon.pid(), "NSpid").trim().split("\t")).toHaveLength(1);
});

test("the executables of pause and monitor are sealed: also when nothing executes them they cannot be changed", () => {
  const F_GET_SEALS = 1034;
  // F_SEAL_SEAL, SHRINK, GROW, WRITE and EXEC of linux/fcntl.h.
  const SEALS = 0x1 | 0x2 | 0x4 | 0x8 | 0x20;
  for (const pid of [pause, parentOf(pause)]) {
    using executable = open(`/proc/${pid}/exe`, O_RDONLY);
    expect(syscall("fcntl", executable.number, F_GET_SEALS) & SEALS).toBe(SEALS);
  }
});
