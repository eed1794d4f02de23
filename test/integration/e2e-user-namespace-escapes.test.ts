// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { useDaemon } from "./harness/fixture.ts";
import { execIn, runSandbox, shellIn } from "./harness/pods.ts";
import { runMapped, runMappedSandbox } from "./harness/user-namespace.ts";

// What root with every capability of a pod's user namespace, and with mounts of the host's, cannot do to the host.

const fixture = useDaemon();
const blockDevice = ["/dev/loop0", "/dev/ram0", "/dev/vda", "/dev/sda"].find((path) => existsSync(path));
let shell: string;
let host: string;

beforeAll(async () => {
  const { daemon } = fixture;
  host = join(daemon.root, "host");
  mkdirSync(host);
  writeFileSync(join(host, "secret"), "secret\n", { mode: 0o600 });
  const neighbour = await runSandbox(daemon, "neighbour");
  const sandboxId = await runMappedSandbox(daemon, "attacker");
  shell = await runMapped(daemon, sandboxId, {
    name: "attacker",
    security: { capabilities: { addCapabilities: ["ALL"] } },
    mounts: [
      { hostPath: "/proc", containerPath: "/host/proc", readonly: true },
      { hostPath: join(daemon.root, "run/pods", neighbour, "netns"), containerPath: "/host/netns" },
      { hostPath: host, containerPath: "/host/files" },
    ],
    devices:
      blockDevice === undefined
        ? []
        : [{ hostPath: blockDevice, containerPath: "/dev/block", permissions: "r" }],
  });
});

async function refusal(line: string): Promise<string> {
  const { code, stdout, stderr } = await execIn(fixture.daemon, shell, "sh", "-c", line);
  expect([line, code === 0, stdout]).toEqual([line, false, ""]);
  return stderr;
}

test("it has the capabilities that the refusals below are not for want of", async () => {
  expect(await shellIn(fixture.daemon, shell, "grep CapEff /proc/self/status")).toContain("000001ffffffffff");
});

test("it joins no namespace of the host or of another pod", async () => {
  const daemon = fixture.daemon.pid();
  for (const kind of ["net", "mount", "uts", "ipc", "pid", "user"]) {
    const file = kind === "mount" ? "mnt" : kind;
    expect(await refusal(`nsenter --${kind}=/host/proc/${daemon}/ns/${file} true`)).toContain("ermi");
  }
  expect(await refusal("nsenter --net=/host/netns true")).toContain("Operation not permitted");
});

test("it reads nothing that is root's alone, by whatever way", async () => {
  const daemon = fixture.daemon.pid();
  for (const path of [
    "/host/files/secret",
    `/host/proc/${daemon}/root/etc/shadow`,
    `/host/proc/${daemon}/environ`,
    `/host/proc/${daemon}/mem`,
    "/proc/timer_list",
  ]) {
    expect(await refusal(`head -c 1 ${path}`)).toMatch(/Permission denied|not permitted/);
  }
  expect(await refusal("chmod 666 /host/files/secret")).toContain("not permitted");
  expect(readFileSync(join(host, "secret"), "utf8")).toBe("secret\n");
});

test("it makes no device, and mounts none that it was given", async () => {
  expect(await refusal("mknod /tmp/disk b 7 0")).toContain("not permitted");
  if (blockDevice === undefined) return;
  await shellIn(fixture.daemon, shell, "mkdir -p /mnt && test -b /dev/block");
  expect(await refusal("mount -t ext4 -o ro /dev/block /mnt")).toMatch(/not permitted|denied/);
});

test("it changes nothing of the kernel's", async () => {
  for (const file of ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/panic", "/proc/sys/vm/swappiness"]) {
    expect(await refusal(`echo 1 > ${file}`)).toContain("Permission denied");
  }
});
