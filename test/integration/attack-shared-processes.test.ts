// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { NamespaceMode } from "../../src/gen/runtime/v1/api_pb.ts";
import { findMonitor } from "../../src/launch/monitor-process.ts";
import { SYS, type SyscallName } from "../../src/linux/abi/syscall-numbers.ts";
import { buildSyscallProbe, probeAnswers, probeWords } from "../fixtures/syscall-probe.ts";
import { runCommand } from "./harness/command.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  type SandboxConfig,
  type SecurityContext,
  sandboxStatus,
  shellIn,
} from "./harness/pods.ts";
import { isAlive, parentOf } from "./harness/proc.ts";
import { mapping } from "./harness/user-namespace.ts";

/*
 * Containers that share their pod's processes see the pause as PID 1. They may end it, and their pod with it;
 * they may not become it: no tracing, no look into its memory, its descriptors, its root. The monitor they
 * do not even see.
 */

const fixture = useDaemon();
let program: string;

beforeAll(() => {
  const dir = join(fixture.daemon.root, "probe");
  mkdirSync(dir);
  program = buildSyscallProbe(dir);
});

const PTRACE_SEIZE = 0x4206;
const KCMP_FILES = 2;
const EPERM = -1;
const nr = (name: string) => SYS[name as SyscallName];

const usernsOptions = { mode: NamespaceMode.POD, uids: mapping, gids: mapping };
const attackers: readonly (readonly [string, SecurityContext, SecurityContext])[] = [
  ["root with the default capabilities", {}, {}],
  ["the pause's own user", {}, { runAsUser: { value: 65_535n }, runAsGroup: { value: 65_535n } }],
  ["root, where the pause is root too", { runAsUser: { value: 0n } }, {}],
  [
    "root of the pod's user namespace with every capability in it",
    { namespaceOptions: { usernsOptions } },
    { namespaceOptions: { usernsOptions }, capabilities: { addCapabilities: ["ALL"] } },
  ],
];

describe.each(attackers)("%s", (who, ofPod, ofContainer) => {
  const name = who.replaceAll(/\W+/g, "-").slice(0, 40);
  let sandboxId: string;
  let id: string;

  beforeAll(async () => {
    const pid = NamespaceMode.POD;
    const shared = (context: SecurityContext) =>
      ({ securityContext: { ...context, namespaceOptions: { ...context.namespaceOptions, pid } } }) as never;
    sandboxId = await runSandbox(fixture.daemon, name, { linux: shared(ofPod) } as SandboxConfig);
    const mounts = [{ hostPath: program, containerPath: "/probe", readonly: true }];
    id = await runContainer(fixture.daemon, sandboxId, {
      name: "attacker",
      mounts,
      linux: shared(ofContainer),
    });
  });

  const call = async (name: string, ...args: number[]): Promise<number> => {
    const words = probeWords([{ nr: nr(name), args }]);
    return probeAnswers((await execIn(fixture.daemon, id, "/probe", "-", "0", ...words)).stdout)[0]!;
  };

  test("traces, reads and borrows nothing of the pause, but could of a process of its own", async () => {
    const { daemon } = fixture;
    expect(await shellIn(daemon, id, "cat /proc/1/comm")).toBe("pause");
    const own = Number(await shellIn(daemon, id, "pidof sleep"));
    expect(await call("ptrace", PTRACE_SEIZE, own, 0, 0)).toBe(0);
    expect(await call("ptrace", PTRACE_SEIZE, 1, 0, 0)).toBe(EPERM);
    expect(await call("kcmp", own, own, KCMP_FILES)).toBe(0);
    expect(await call("kcmp", 1, own, KCMP_FILES)).toBe(EPERM);
    for (const path of ["environ", "mem", "maps", "exe", "auxv"]) {
      const read = await execIn(daemon, id, "head", "-c", "1", `/proc/1/${path}`);
      expect(`${path}: ${read.stderr}`).toContain("denied");
      if (path === "environ") expect((await execIn(daemon, id, "cat", `/proc/${own}/${path}`)).code).toBe(0);
    }
    for (const path of ["fd/", "root/", "cwd/", "ns/net", "fd/0"]) {
      const look = await execIn(daemon, id, "ls", "-L", `/proc/1/${path}`);
      expect(`${path}: ${look.stderr}`).toContain("denied");
    }
    // The refusal comes while the directory is being read, which an ls may keep to itself.
    expect((await execIn(daemon, id, "ls", "/proc/1/map_files")).stdout).toBe("");
    expect((await execIn(daemon, id, "ls", `/proc/${own}/map_files`)).stdout).not.toBe("");
    const write = await execIn(daemon, id, "sh", "-c", "echo x >/proc/1/exe || echo x >/proc/1/mem");
    expect(write.code).not.toBe(0);
  });

  test("cannot kill or stop PID 1 from inside, nor see the monitor", async () => {
    const { daemon } = fixture;
    const pause = await pausePid(daemon, sandboxId);
    await execIn(daemon, id, "sh", "-c", "kill -KILL 1; kill -STOP 1; kill -SEGV 1; kill -TSTP 1");
    await execIn(daemon, id, "kill", "-KILL", "-1").catch(() => {});
    expect(isAlive(pause)).toBe(true);
    expect(isAlive(parentOf(pause))).toBe(true);
    expect((await sandboxStatus(daemon, sandboxId)).state).toBe(0);
    const again = await runContainer(daemon, sandboxId, {
      name: "after",
      linux: {
        securityContext: {
          ...ofContainer,
          namespaceOptions: { ...ofContainer.namespaceOptions, pid: NamespaceMode.POD },
        },
      } as never,
    });
    expect(await shellIn(daemon, again, "cat /proc/[0-9]*/comm | grep -c monitor || true")).toBe("0");
  });
});

test("a process of a container that calls itself a pod's monitor is not taken for it", async () => {
  const label = `${process.pid}${Math.floor(Math.random() * 1e6)}`;
  const imitate = (...before: string[]) => {
    const [command, ...args] = [...before, "bash", "-c", `exec -a podrt-monitor sleep ${label}`];
    return Bun.spawn([command!, ...args], { stdio: ["ignore", "ignore", "ignore"] });
  };
  const ready = (pid: number) =>
    eventually("it runs under its other name", async () => {
      const { stdout } = await runCommand("tr", ["\\0", " "], {
        stdin: await Bun.file(`/proc/${pid}/cmdline`).text(),
      });
      return stdout === `podrt-monitor ${label} `;
    });
  const inside = imitate("unshare", "--mount");
  const outside = imitate();
  try {
    await ready(inside.pid);
    await ready(outside.pid);
    expect(findMonitor(label)?.pid).toBe(outside.pid);
    outside.kill("SIGKILL");
    await outside.exited;
    expect(findMonitor(label)).toBeUndefined();
  } finally {
    for (const child of [inside, outside]) {
      child.kill("SIGKILL");
      await child.exited;
    }
  }
});
