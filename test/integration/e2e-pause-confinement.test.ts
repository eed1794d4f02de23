// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { SecurityProfile_ProfileType } from "../../src/gen/runtime/v1/api_pb.ts";
import { patience } from "../support/patience.ts";
import { useDaemon } from "./harness/fixture.ts";
import { pausePid, runContainer, runSandbox } from "./harness/pods.ts";
import { cpuTicks, memoryOf, parentOf, procText, statusField } from "./harness/proc.ts";

const fixture = useDaemon();
const idleMs = 60_000;
// What a kubelet asks for every sandbox.
const securityContext = { seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault } };
let pause: number;
let monitor: number;
let bornMs: number;

beforeAll(async () => {
  const sandboxId = await runSandbox(fixture.daemon, "idle", { linux: { securityContext } });
  bornMs = performance.now();
  await runContainer(fixture.daemon, sandboxId, { name: "sleeper" });
  pause = await pausePid(fixture.daemon, sandboxId);
  monitor = parentOf(pause);
});

test("the pause has no capability, no new privileges, and an unprivileged user", () => {
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    expect(statusField(pause, set)).toMatch(/^0+$/);
  }
  expect(statusField(pause, "NoNewPrivs")).toBe("1");
  expect(statusField(pause, "Uid").split("\t")).toEqual(["65535", "65535", "65535", "65535"]);
  expect(statusField(pause, "Gid").split("\t")).toEqual(["65535", "65535", "65535", "65535"]);
  expect(statusField(pause, "Groups").trim()).toBe("");
});

test("the pause is called /pause and filters its system calls", () => {
  expect(procText(`/proc/${pause}/cmdline`)).toBe("/pause\0");
  expect(statusField(pause, "Seccomp")).toBe("2");
});

test("the pause is the last to be killed for memory, as far as the daemon may ask", () => {
  const own = Number(procText(`/proc/${fixture.daemon.pid()}/oom_score_adj`));
  const capabilities = BigInt(`0x${statusField(fixture.daemon.pid(), "CapEff")}`);
  const mayLower = (capabilities & (1n << 24n)) !== 0n; // CAP_SYS_RESOURCE, linux/capability.h
  const adjusted = Number(procText(`/proc/${pause}/oom_score_adj`));
  expect(adjusted).toBe(mayLower ? -998 : Math.max(-998, own));
});

test("pause and monitor together have less than 64 KiB of memory of their own", () => {
  const own = [pause, monitor].map((pid) => {
    const memory = memoryOf(pid);
    return memory["Private_Clean"]! + memory["Private_Dirty"]!;
  });
  expect(own.every((bytes) => bytes > 0)).toBe(true);
  expect(own[0]! + own[1]!).toBeLessThan(64 * 1024);
});

test(
  "the pause and the monitor have used no processor time after a minute",
  async () => {
    const before = cpuTicks(monitor);
    await Bun.sleep(Math.max(0, idleMs - (performance.now() - bornMs)));
    // Its start takes less than a tick, but where the processor is emulated.
    expect(cpuTicks(pause)).toBeLessThan(patience);
    expect(cpuTicks(monitor)).toBe(before);
  },
  90_000 * patience,
);
