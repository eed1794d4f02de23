// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { SecurityProfile_ProfileType as ProfileType } from "../../src/gen/runtime/v1/api_pb.ts";
import { ARCHITECTURE } from "../../src/linux/architecture.ts";
import { type SyscallAbi, syscallTable } from "../../src/linux/seccomp/syscall-table.ts";
import { buildSyscallProbe, type ProbeCall, probeAnswers, probeWords } from "../fixtures/syscall-probe.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerInfo,
  containerPid,
  createContainer,
  execIn,
  exited,
  pausePid,
  runContainer,
  runSandbox,
  type SecurityContext,
  secured,
} from "./harness/pods.ts";
import { statusField } from "./harness/proc.ts";

const fixture = useDaemon();
const { RuntimeDefault, Unconfined, Localhost } = ProfileType;
const [EPERM, EBADF, ENOSYS] = [1, 9, 38] as const;
/** The bit of x32, where there is that. */
const X32 = ARCHITECTURE === "x86_64" ? 0x40000000 : 0;
let sandboxId: string;
/** Of the host's; containers have it as /host. */
let dir: string;
let counter = 0;

beforeAll(async () => {
  dir = join(fixture.daemon.root, "profiles");
  mkdirSync(dir);
  buildSyscallProbe(dir);
  sandboxId = await runSandbox(fixture.daemon, "seccomp");
});

function write(name: string, profile: unknown): string {
  const path = join(dir, name);
  writeFileSync(path, typeof profile === "string" ? profile : JSON.stringify(profile));
  return path;
}

const localhost = (path: string) => ({
  seccomp: { profileType: Localhost, localhostRef: path },
});

function configOf(context: SecurityContext) {
  const mounts = [{ hostPath: dir, containerPath: "/host", readonly: true }];
  return { name: `container-${counter++}`, mounts, ...secured(context) };
}

const run = (context: SecurityContext) => runContainer(fixture.daemon, sandboxId, configOf(context));

function nr(name: string, abi: SyscallAbi = ARCHITECTURE): number {
  return syscallTable(abi).get(name) as number;
}
const call = (name: string, ...args: number[]): ProbeCall => ({ nr: nr(name), args });
/** As a 32-bit program makes it; a program of aarch64 cannot, and makes its own in its place. */
const compat = (name: string, ...args: number[]): ProbeCall =>
  ARCHITECTURE === "x86_64" ? { abi: "compat", nr: nr(name, "x86"), args } : call(name, ...args);

/** What the kernel answers to calls that are made in the container. */
async function answersIn(id: string, calls: readonly ProbeCall[]): Promise<number[]> {
  const words = ["/host/syscall-probe", "-", "0", ...probeWords(calls)];
  return probeAnswers((await execIn(fixture.daemon, id, ...words)).stdout);
}

const refusing = (errnoRet: number, ...names: string[]) => ({
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
  syscalls: [{ names, action: "SCMP_ACT_ERRNO", errnoRet }],
});
const dup3 = call("dup3", 1000, 5, 0);

test("a profile of the host's is in force in the container and in what is executed in it", async () => {
  const { daemon } = fixture;
  const path = write("refusing.json", refusing(77, "dup3", "getppid"));
  const id = await run(localhost(path));
  expect(statusField(await containerPid(daemon, id), "Seccomp")).toBe("2");
  expect(await answersIn(id, [dup3, compat("dup3", 1000, 5, 0), call("fchdir", 1000)])).toEqual([
    -77,
    -77,
    -EBADF,
  ]);
  const { runtimeSpec } = (await containerInfo(daemon, id)) as {
    runtimeSpec: { linux: { seccomp: { defaultAction: string } } };
  };
  expect(runtimeSpec.linux.seccomp.defaultAction).toBe("SCMP_ACT_ALLOW");
});

test("the older field names a profile, the default or none, and nothing at all is none", async () => {
  const { daemon } = fixture;
  const path = write("legacy.json", refusing(78, "dup3"));
  const contexts: readonly (readonly [SecurityContext, string, number])[] = [
    [{ seccompProfilePath: `localhost/${path}` }, "2", -78],
    [{ seccompProfilePath: "runtime/default" }, "2", -EBADF],
    [{ seccompProfilePath: "docker/default" }, "2", -EBADF],
    [{ seccompProfilePath: "unconfined" }, "0", -EBADF],
    [{}, "0", -EBADF],
    // The newer field wins.
    [{ seccompProfilePath: `localhost/${path}`, seccomp: { profileType: Unconfined } }, "0", -EBADF],
  ];
  for (const [context, mode, answer] of contexts) {
    const id = await run(context);
    expect(statusField(await containerPid(daemon, id), "Seccomp")).toBe(mode);
    expect(await answersIn(id, [dup3])).toEqual([answer]);
  }
});

test("a container keeps the profile that its file had when it was created", async () => {
  const { daemon } = fixture;
  const path = write("changing.json", refusing(77, "dup3"));
  const id = await createContainer(daemon, sandboxId, configOf(localhost(path)));
  write("changing.json", refusing(79, "dup3"));
  await daemon.api.startContainer({ containerId: id });
  expect(await answersIn(id, [dup3])).toEqual([-77]);
  rmSync(path);
  expect(await answersIn(id, [dup3])).toEqual([-77]);
  await daemon.kill();
  await daemon.start();
  expect(await answersIn(id, [dup3])).toEqual([-77]);
  expect((await containerInfo(daemon, id))["privileged"]).toBe(false);
});

test("a profile that is missing, broken or no file fails the creation with a sentence, and leaves nothing", async () => {
  const { daemon } = fixture;
  const fifo = join(dir, "fifo");
  await outputOf("mkfifo", [fifo]);
  const notify = { ...refusing(1), syscalls: [{ names: ["mount"], action: "SCMP_ACT_NOTIFY" }] };
  const failures: readonly (readonly [string, Code, string])[] = [
    [join(dir, "nowhere.json"), Code.FailedPrecondition, "cannot read the seccomp profile"],
    [dir, Code.FailedPrecondition, "it is not a regular file"],
    [fifo, Code.FailedPrecondition, "it is not a regular file"],
    ["/dev/zero", Code.FailedPrecondition, "it is not a regular file"],
    [
      write("large.json", " ".repeat(1024 * 1024 + 1)),
      Code.FailedPrecondition,
      "it is larger than 1048576 bytes",
    ],
    [write("broken.json", "{"), Code.InvalidArgument, "broken.json: is not JSON"],
    [
      write("action.json", { defaultAction: "SCMP_ACT_MAYBE" }),
      Code.InvalidArgument,
      "action.json: defaultAction: must be an SCMP_ACT_ action",
    ],
    [write("notify.json", notify), Code.Unimplemented, "SCMP_ACT_NOTIFY needs a seccomp agent"],
  ];
  const before = (await daemon.api.listContainers({})).containers.length;
  for (const [path, code, sentence] of failures) {
    const error = await createContainer(daemon, sandboxId, configOf(localhost(path))).catch(
      ConnectError.from,
    );
    if (typeof error === "string") throw new Error(`${path} was accepted`);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(sentence)]);
  }
  expect((await daemon.api.listContainers({})).containers.length).toBe(before);
});

test("a profile need not allow what a launch with no_new_privs does", async () => {
  const names = [
    "setgroups",
    "setresuid",
    "setresgid",
    "capset",
    "prctl",
    "mount",
    "umount2",
    "pivot_root",
    "seccomp",
  ];
  const path = write("launching.json", { ...refusing(1, ...names), defaultAction: "SCMP_ACT_ALLOW" });
  const id = await run({ ...localhost(path), noNewPrivs: true, runAsUser: { value: 1000n } });
  const pid = await containerPid(fixture.daemon, id);
  expect([statusField(pid, "Uid").split("\t")[0], statusField(pid, "Seccomp")]).toEqual(["1000", "2"]);
});

test("the default lets a granted capability be used, and neither 32-bit nor x32 calls get round it", async () => {
  const defaults = { seccomp: { profileType: RuntimeDefault } };
  const made = [
    call("mount", 1, 1, 1, 0),
    compat("mount", 1, 1, 1, 0),
    { nr: X32 + nr("mount") },
    call("keyctl"),
    compat("keyctl"),
    call("io_uring_setup", 1, 0),
    call("unshare", 0x10000000),
    compat("clone", 0x10000011),
    call("bpf", 0, 0, 0),
    call("personality", 0xffffffff),
  ];
  const usual = await answersIn(await run(defaults), made);
  expect(usual).toEqual([...Array(9).fill(-EPERM), 0]);
  const admin = await answersIn(
    await run({ ...defaults, capabilities: { addCapabilities: ["SYS_ADMIN"] } }),
    made,
  );
  expect([admin[0], admin[1]]).toEqual([-14, -14]); // EFAULT: the kernel has looked at the arguments
  expect([admin[3], admin[4], admin[5]]).toEqual([-EPERM, -EPERM, -EPERM]);
  expect(admin[8]).not.toBe(-EPERM);
});

test("a profile that kills ends the container by SIGSYS", async () => {
  const { daemon } = fixture;
  const rule = { names: ["dup3"], action: "SCMP_ACT_KILL_PROCESS" };
  const path = write("killing.json", { defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] });
  const id = await runContainer(daemon, sandboxId, {
    ...configOf(localhost(path)),
    command: ["/host/syscall-probe", "-", "0", ...probeWords([dup3])],
  });
  expect((await exited(daemon, id)).exitCode).toBe(128 + 31);
});

test("a privileged container is not filtered, whatever it names", async () => {
  const { daemon } = fixture;
  const path = write("ignored.json", refusing(77, "dup3"));
  const pod = await runSandbox(daemon, "privileged", { linux: { securityContext: { privileged: true } } });
  const id = await runContainer(daemon, pod, configOf({ privileged: true, ...localhost(path) }));
  expect(statusField(await containerPid(daemon, id), "Seccomp")).toBe("0");
  expect(await answersIn(id, [dup3, { nr: 1000 }])).toEqual([-EBADF, -ENOSYS]);
});

test("the pause is filtered as its pod asks, in a privileged pod too, and runs on", async () => {
  const { daemon } = fixture;
  const path = write("pause.json", refusing(77, "dup3"));
  const pods: readonly (readonly [object, string])[] = [
    [{ seccomp: { profileType: RuntimeDefault } }, "2"],
    [{ seccomp: { profileType: RuntimeDefault }, privileged: true }, "2"],
    [{ seccomp: { profileType: Localhost, localhostRef: path } }, "2"],
    [{ seccompProfilePath: "runtime/default" }, "2"],
    [{ seccomp: { profileType: Unconfined } }, "0"],
    [{}, "0"],
  ];
  for (const [index, [securityContext, mode]] of pods.entries()) {
    const id = await runSandbox(daemon, `pause-${index}`, { linux: { securityContext } });
    expect(statusField(await pausePid(daemon, id), "Seccomp")).toBe(mode);
    await runContainer(daemon, id, { name: "member" });
  }
});
