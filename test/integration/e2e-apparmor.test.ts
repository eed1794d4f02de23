// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { SecurityProfile_ProfileType as ProfileType } from "../../src/gen/runtime/v1/api_pb.ts";
import { openAppArmor } from "../../src/linux/apparmor.ts";
import { outputOf } from "./harness/command.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  createContainer,
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const fixture = useDaemon();
const { RuntimeDefault, Unconfined, Localhost } = ProfileType;
const apparmor = openAppArmor();
const parser = Bun.which("apparmor_parser", { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" });
const isTestable = apparmor.isEnabled && parser !== null;
const PROFILE = "podrt-test-deny-write";
const PROFILE_TEXT = `profile ${PROFILE} flags=(attach_disconnected) { file, network, capability, signal, deny /** w, }\n`;
let sandboxId: string;
let counter = 0;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "apparmor");
});

const configOf = (context: SecurityContext) => ({ name: `container-${counter++}`, ...secured(context) });
const run = (context: SecurityContext) => runContainer(fixture.daemon, sandboxId, configOf(context));
const refusal = (context: SecurityContext) =>
  createContainer(fixture.daemon, sandboxId, configOf(context)).catch(ConnectError.from);
const localhost = (localhostRef: string) => ({ apparmor: { profileType: Localhost, localhostRef } });

/** The profile that the kernel says a process has, with its mode. */
const profileOf = (pid: number) => procText(`/proc/${pid}/attr/current`).replace(/[\0\n]+$/, "");

// Most kernels have AppArmor or another module, not both, and the profiles are made with its own compiler.
describe.skipIf(!isTestable)("where AppArmor is on (skipped elsewhere, and without apparmor_parser)", () => {
  beforeAll(() => outputOf(parser!, ["--replace", "--skip-cache"], { stdin: PROFILE_TEXT }));
  afterAll(() => outputOf(parser!, ["--remove"], { stdin: PROFILE_TEXT }));

  test("containers, what is executed in them, and the pause get the default profile unless they ask otherwise", async () => {
    const { daemon } = fixture;
    for (const context of [
      {},
      { apparmor: { profileType: RuntimeDefault } },
      { apparmorProfile: "runtime/default" },
    ]) {
      const id = await run(context);
      expect(profileOf(await containerPid(daemon, id))).toBe("podrt-default (enforce)");
      expect(await shellIn(daemon, id, "cat /proc/self/attr/current")).toBe("podrt-default (enforce)");
    }
    expect(profileOf(await pausePid(daemon, sandboxId))).toBe("podrt-default (enforce)");
    for (const context of [{ apparmor: { profileType: Unconfined } }, { apparmorProfile: "unconfined" }]) {
      expect(profileOf(await containerPid(daemon, await run(context)))).toBe("unconfined");
    }
  });

  test("the default profile refuses mounts and writes to what is the machine's, and lets a program work", async () => {
    const { daemon } = fixture;
    const id = await run({ capabilities: { addCapabilities: ["SYS_ADMIN"] } });
    expect((await execIn(daemon, id, "mount", "-t", "tmpfs", "none", "/tmp")).stderr).toMatch(
      /denied|not permitted/,
    );
    expect((await execIn(daemon, id, "sh", "-c", "echo 0 > /proc/sysrq-trigger")).stderr).toMatch(/denied/);
    expect((await execIn(daemon, id, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern")).stderr).toMatch(
      /denied/,
    );
    await shellIn(daemon, id, "echo x > /file && sleep 60 & kill $!");
  });

  test("a profile of the machine's is enforced, by either field, with and without its prefix", async () => {
    const { daemon } = fixture;
    const contexts = [
      localhost(PROFILE),
      localhost(`localhost/${PROFILE}`),
      { apparmorProfile: `localhost/${PROFILE}` },
    ];
    for (const context of contexts) {
      const id = await run({
        ...context,
        noNewPrivs: true,
        seccomp: { profileType: RuntimeDefault },
      } as SecurityContext);
      expect(profileOf(await containerPid(daemon, id))).toBe(`${PROFILE} (enforce)`);
      expect((await execIn(daemon, id, "touch", "/file")).stderr).toContain("Permission denied");
    }
    const securityContext = localhost(PROFILE);
    const pod = await runSandbox(daemon, "own-profile", { linux: { securityContext } });
    expect(profileOf(await pausePid(daemon, pod))).toBe(`${PROFILE} (enforce)`);
  });

  test("a profile that is not loaded fails the creation, and a privileged container is not confined", async () => {
    const { daemon } = fixture;
    expect(await refusal(localhost("no-such-profile"))).toMatchObject({
      code: Code.FailedPrecondition,
      message: expect.stringContaining('the AppArmor profile "no-such-profile" is not loaded'),
    });
    const pod = await runSandbox(daemon, "privileged", { linux: { securityContext: { privileged: true } } });
    const id = await runContainer(daemon, pod, { name: "all", ...secured({ privileged: true }) });
    expect(profileOf(await containerPid(daemon, id))).toBe("unconfined");
  });
});

// The other way about: what is said where AppArmor is off.
describe.skipIf(apparmor.isEnabled)("where AppArmor is off (skipped where it is on)", () => {
  test("no profile, and unconfined, are run as they are", async () => {
    for (const context of [
      {},
      { apparmor: { profileType: Unconfined } },
      { apparmorProfile: "unconfined" },
    ]) {
      await run(context);
    }
  });

  test("a profile is refused by the field's name, for containers and pods", async () => {
    const field = "config.linux.security_context.apparmor";
    for (const [context, name] of [
      [localhost("mine"), field],
      [{ apparmor: { profileType: RuntimeDefault } }, field],
      [{ apparmorProfile: "localhost/mine" }, `${field}_profile`],
    ] as const) {
      expect(await refusal(context)).toMatchObject({
        code: Code.FailedPrecondition,
        message: expect.stringContaining(`${name}: AppArmor is not enabled on this machine`),
      });
    }
    const securityContext = localhost("mine");
    const before = await fixture.daemon.api.listPodSandbox({});
    const pod = await runSandbox(fixture.daemon, "refused", { linux: { securityContext } }).catch(
      ConnectError.from,
    );
    expect(pod).toMatchObject({ code: Code.FailedPrecondition });
    expect((await fixture.daemon.api.listPodSandbox({})).items.length).toBe(before.items.length);
  });
});
