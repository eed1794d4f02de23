// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import type { SELinuxOption } from "../../src/gen/runtime/v1/api_pb.ts";
import { formatContext, openSelinux } from "../../src/linux/selinux.ts";
import { useDaemon } from "./harness/fixture.ts";
import {
  containerPid,
  createContainer,
  execIn,
  pausePid,
  runContainer,
  runSandbox,
  type SandboxConfig,
  type SecurityContext,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const fixture = useDaemon();
const selinux = openSelinux();
const isTestable = selinux.isEnabled && selinux.accepts(formatContext(selinux.process));
let sandboxId: string;
let counter = 0;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "selinux");
});

const configOf = (context: SecurityContext) => ({ name: `container-${counter++}`, ...secured(context) });
const options = (selinuxOptions: Partial<SELinuxOption>) => ({ selinuxOptions }) as SecurityContext;
const run = (context: SecurityContext = {}) => runContainer(fixture.daemon, sandboxId, configOf(context));
const refusal = (context: SecurityContext) =>
  createContainer(fixture.daemon, sandboxId, configOf(context)).catch(ConnectError.from);

/** The context that the kernel says a process has. */
const labelOf = (pid: number) => procText(`/proc/${pid}/attr/current`).replace(/[\0\n]+$/, "");
const labelOfContainer = async (id: string) => labelOf(await containerPid(fixture.daemon, id));
/** The contexts of a container's mounts, by their destination, as the kernel shows them. */
async function mountContexts(id: string): Promise<Map<string, string>> {
  const lines = procText(`/proc/${await containerPid(fixture.daemon, id)}/mountinfo`).split("\n");
  return new Map(
    lines.flatMap((line) => {
      const context = /[ ,]context="?([^" ]+)"?/.exec(line)?.[1];
      return context === undefined ? [] : [[line.split(" ")[4]!, context] as const];
    }),
  );
}

/** The context of a file of the host's; stat(1) of coreutils knows it. */
const contextOf = (path: string) => Bun.spawnSync(["stat", "-c", "%C", path]).stdout.toString().trim();

const LEVEL = /:(s0:c\d+,c\d+)$/;
const levelOf = (label: string) => LEVEL.exec(label)?.[1];

// A kernel has SELinux or another module, and only some policies know containers.
describe.skipIf(!isTestable)(
  "where SELinux is on (skipped elsewhere, and with a policy without containers)",
  () => {
    test("processes of a pod have one label, another pod's have another, and the pause and what is executed have it too", async () => {
      const { daemon } = fixture;
      const ids = [await run(), await run()];
      const [first, second] = await Promise.all(ids.map(labelOfContainer));
      expect(first).toStartWith("system_u:system_r:container_t:s0:c");
      expect(second).toBe(first!);
      expect(labelOf(await pausePid(daemon, sandboxId))).toBe(first!);
      expect(await shellIn(daemon, ids[0]!, "cat /proc/self/attr/current | tr -d '\\0'")).toBe(first!);
      const other = await runSandbox(daemon, "other");
      const third = await labelOfContainer(await runContainer(daemon, other, { name: "other" }));
      expect(third).toStartWith("system_u:system_r:container_t:s0:c");
      expect(third).not.toBe(first!);
    });

    test("the root and what is mounted for a container have the files' type and the pod's level", async () => {
      const { daemon } = fixture;
      const id = await runContainer(daemon, sandboxId, {
        ...configOf({ maskedPaths: ["/sys/firmware"] }),
        tty: true,
      });
      const level = levelOf(await labelOfContainer(id));
      const file = `system_u:object_r:container_file_t:${level}`;
      const contexts = await mountContexts(id);
      for (const path of ["/", "/dev", "/dev/pts", "/dev/shm", "/sys/firmware"]) {
        expect([path, contexts.get(path)]).toEqual([path, file]);
      }
      for (const name of ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]) {
        const line = await execIn(daemon, id, "sh", "-c", `cat ${name} >/dev/null && echo read`);
        expect(line.stdout).toBe("read\n");
      }
      for (const name of ["hosts", "hostname", "resolv.conf"]) {
        expect(contextOf(join(daemon.root, "run/pods", sandboxId, name))).toBe(file);
      }
    });

    test("options replace parts of the label, and a level is taken as it is", async () => {
      expect(await labelOfContainer(await run(options({ level: "s0" })))).toBe(
        "system_u:system_r:container_t:s0",
      );
      const all = { user: "system_u", role: "system_r", type: "svirt_lxc_net_t", level: "s0:c4,c5" };
      const own = await run(options(all));
      expect(await labelOfContainer(own)).toBe("system_u:system_r:svirt_lxc_net_t:s0:c4,c5");
      expect((await mountContexts(own)).get("/")).toBe("system_u:object_r:container_file_t:s0:c4,c5");
      const securityContext = options({ level: "s0:c8,c9" });
      const pod = await runSandbox(fixture.daemon, "own-level", {
        linux: { securityContext },
      } as SandboxConfig);
      const inherited = await runContainer(fixture.daemon, pod, { name: "inherited" });
      expect(await labelOfContainer(inherited)).toBe("system_u:system_r:container_t:s0:c8,c9");
    });

    test("a privileged container is not confined, and its files have its pod's level", async () => {
      const { daemon } = fixture;
      const pod = await runSandbox(daemon, "privileged", {
        linux: { securityContext: { privileged: true } },
      });
      const id = await runContainer(daemon, pod, { name: "all", ...secured({ privileged: true }) });
      expect(await labelOfContainer(id)).toMatch(/^system_u:system_r:spc_t:s0(-s0:c0\.c1023)?$/);
      expect((await mountContexts(id)).get("/")).toMatch(LEVEL);
    });

    test("a label that the policy does not know fails the creation", async () => {
      expect(await refusal(options({ type: "no_such_type_t" }))).toMatchObject({
        code: Code.InvalidArgument,
        message: expect.stringContaining("policy does not know the context"),
      });
    });

    test("a volume is relabelled where its mount asks for it, links themselves and not what they name", async () => {
      const { daemon } = fixture;
      const volume = join(daemon.root, "volume");
      mkdirSync(join(volume, "deep"), { recursive: true });
      writeFileSync(join(volume, "deep/file"), "x");
      const mount = { hostPath: volume, containerPath: "/volume" };
      const id = await runContainer(daemon, sandboxId, {
        ...configOf({}),
        mounts: [{ ...mount, selinuxRelabel: true }],
      });
      const level = levelOf(await labelOfContainer(id));
      for (const path of [volume, join(volume, "deep"), join(volume, "deep/file")]) {
        expect(contextOf(path)).toBe(`system_u:object_r:container_file_t:${level}`);
      }
      if (procText("/sys/fs/selinux/enforce") === "1") {
        const pod = await runSandbox(daemon, "stranger");
        const stranger = await runContainer(daemon, pod, { name: "stranger", mounts: [mount] });
        expect((await execIn(daemon, stranger, "cat", "/volume/deep/file")).stderr).toContain(
          "Permission denied",
        );
        expect(await shellIn(daemon, id, "cat /volume/deep/file")).toBe("x");
      }
      const refused = createContainer(daemon, sandboxId, {
        ...configOf({}),
        mounts: [{ hostPath: "/etc", containerPath: "/host", selinuxRelabel: true }],
      }).catch(ConnectError.from);
      expect(await refused).toMatchObject({ code: Code.FailedPrecondition });
    });

    test("labels outlive the daemon: categories stay taken, and executed commands have the container's", async () => {
      const { daemon } = fixture;
      const id = await run();
      const before = await labelOfContainer(id);
      await daemon.kill();
      await daemon.start();
      expect(await shellIn(daemon, id, "cat /proc/self/attr/current | tr -d '\\0'")).toBe(before);
      expect(await labelOfContainer(await run())).toBe(before);
    });
  },
);

// The other way about: what is said where SELinux is off.
describe.skipIf(selinux.isEnabled)("where SELinux is off (skipped where it is on)", () => {
  test("labels are refused by the field's name, for containers and pods; empty options and relabelling are not", async () => {
    const { daemon } = fixture;
    const field = "config.linux.security_context.selinux_options";
    for (const part of [{ level: "s0:c1,c2" }, { type: "container_t" }, { role: "r" }, { user: "u" }]) {
      expect(await refusal(options(part))).toMatchObject({
        code: Code.FailedPrecondition,
        message: expect.stringContaining(`${field}: SELinux is not enabled on this machine`),
      });
    }
    const securityContext = options({ level: "s0" });
    const pod = runSandbox(daemon, "refused", { linux: { securityContext } } as SandboxConfig);
    expect(await pod.catch(ConnectError.from)).toMatchObject({ code: Code.FailedPrecondition });
    const mounts = [{ hostPath: daemon.root, containerPath: "/volume", selinuxRelabel: true }];
    await runContainer(daemon, sandboxId, { ...configOf(options({})), mounts });
  });
});

test("a malformed level is refused everywhere", async () => {
  expect(await refusal(options({ level: "s0,c4,c5" }))).toMatchObject({
    code: Code.InvalidArgument,
    message: expect.stringContaining("selinux_options.level: must be a level"),
  });
});
