// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { Mount } from "../../src/gen/runtime/v1/api_pb.ts";
import { useDaemon } from "./harness/fixture.ts";
import { mountsOf } from "./harness/host-mounts.ts";
import { importHostile, treeDigest } from "./harness/hostile.ts";
import {
  busybox,
  containerInfo,
  containerPid,
  containerStatus,
  createContainer,
  ensureImage,
  execIn,
  runContainer,
  runSandbox,
  shellIn,
} from "./harness/pods.ts";
import { allPids, procText } from "./harness/proc.ts";

/*
 * What an image says of itself is data: labels, annotations and variables that look like a runtime's or a
 * kubelet's steer nothing (CVE-2026-53488), and VOLUMEs stay in the root file system (CVE-2022-23648).
 */

const fixture = useDaemon();
let sandboxId: string;

beforeAll(async () => {
  sandboxId = await runSandbox(fixture.daemon, "config");
  await ensureImage(fixture.daemon, busybox);
});

interface Spec {
  process: { env: string[] } & Record<string, unknown>;
  mounts: { destination: string; source: string; type: string; options: string[] }[];
  annotations: Record<string, string>;
  root: unknown;
  linux: { cgroupsPath: string } & Record<string, unknown>;
}

async function specOf(id: string): Promise<Spec> {
  return (await containerInfo(fixture.daemon, id))["runtimeSpec"] as Spec;
}

/** Keys by which runtimes, kubelets and their add-ons are told what to do. */
const KEYS = [
  "io.kubernetes.cri.container-type",
  "io.kubernetes.cri.sandbox-id",
  "io.kubernetes.cri-o.userns-mode",
  "io.kubernetes.cri-o.Devices",
  "io.kubernetes.cri-o.UnifiedCgroup",
  "io.kubernetes.container.name",
  "io.kubernetes.pod.uid",
  "io.podman.annotations.privileged",
  "io.containers.capabilities",
  "io.containerd.image.user-ns",
  "containerd.io/restart.status",
  "containerd.io/gc.root",
  "cdi.k8s.io/podrt",
  "container.apparmor.security.beta.kubernetes.io/app",
  "seccomp.security.alpha.kubernetes.io/pod",
  "org.systemd.property.ExecStartPre",
  "run.oci.hooks.stderr",
  "run.oci.handler",
  "org.opencontainers.image.ref.name",
  "podrt.pinned",
  "podrt.privileged",
  "x-podrt.image-volume",
];
const VALUES = [
  "true",
  "privileged",
  "unconfined",
  "/",
  "file:///etc/shadow",
  "vendor.com/class=all",
  "'/bin/sh'",
];

test("labels and annotations of an image change nothing of a container but what is shown of the image", async () => {
  const { daemon } = fixture;
  const Labels = Object.fromEntries(KEYS.map((key, index) => [key, VALUES[index % VALUES.length]!]));
  const image = await importHostile(daemon, "labels", {
    run: {
      Labels,
      Hostname: "of-the-image",
      Domainname: "x",
      MacAddress: "02:42:ac:11:00:02",
      Privileged: true,
      HostConfig: { Privileged: true, Binds: ["/:/host"] },
      Healthcheck: { Test: ["CMD-SHELL", "touch /checked"], Interval: 1_000_000 },
      OnBuild: ["RUN touch /built"],
      Shell: ["/bin/evil"],
      NetworkDisabled: true,
      ArgsEscaped: true,
      ExposedPorts: { "22/tcp": {} },
    },
    spec: { annotations: Labels, hooks: { prestart: [{ path: "/bin/sh" }] }, linux: { maskedPaths: [] } },
    manifest: { annotations: Labels, subject: undefined },
  });
  const plain = await importHostile(daemon, "plain", {});
  const [hostile, honest] = await Promise.all(
    [image, plain].map(async (reference, index) => {
      const id = await runContainer(daemon, sandboxId, {
        name: `labels-${index}`,
        image: { image: reference },
      });
      return { id, spec: await specOf(id), status: await containerStatus(daemon, id) };
    }),
  );
  const neutral = ({ id, spec }: { id: string; spec: Spec }) =>
    JSON.parse(JSON.stringify(spec).replaceAll(id, "ID"));
  expect(neutral(hostile!)).toEqual(neutral(honest!));
  for (const { status } of [hostile!, honest!]) expect([status.labels, status.annotations]).toEqual([{}, {}]);
  expect(existsSync("/checked")).toBe(false);
  const known = (await daemon.api.listImages({})).images.find(({ repoTags }) => repoTags.includes(image));
  expect(known?.pinned).toBe(false);
  const filtered = await daemon.api.listContainers({ filter: { labelSelector: Labels } });
  expect(filtered.containers).toEqual([]);
});

test("variables, entrypoint and user of an image are all of it that reaches the process", async () => {
  const { daemon } = fixture;
  const Env = [
    "PATH=/bin",
    "HOSTNAME=forged",
    "PODRT_ROOT=/",
    "KUBERNETES_SERVICE_HOST=192.0.2.1",
    "LD_PRELOAD=/x",
    "=",
    "NOVALUE",
    "A=1\nB=2",
  ];
  const image = await importHostile(daemon, "env", { run: { Env, StopSignal: "SIGRTMAX+99999" } });
  const plain = await runContainer(daemon, sandboxId, { name: "env-plain" });
  const id = await runContainer(daemon, sandboxId, {
    name: "env",
    image: { image },
    envs: [{ key: "HOSTNAME", value: new TextEncoder().encode("asked") }] as never,
  });
  const [{ process: own, ...rest }, { process: other, ...otherRest }] = [
    await specOf(id),
    await specOf(plain),
  ];
  const strip = (value: object, of: string) => JSON.parse(JSON.stringify(value).replaceAll(of, "ID"));
  expect(strip(rest, id)).toEqual(strip(otherRest, plain));
  expect({ ...own, env: [], args: [] }).toEqual({ ...other, env: [], args: [] });
  expect(own.env).toContain("HOSTNAME=asked");
  expect(own.env).not.toContain("HOSTNAME=forged");
  // No program of the runtime's carries them on.
  for (const pid of allPids()) {
    if (procText(`/proc/${pid}/environ`).includes("PODRT_ROOT=/\0"))
      expect(procText(`/proc/${pid}/cgroup`)).toContain(id);
  }
});

const VOLUMES: readonly string[] = [
  "/../../etc",
  "../../../../../../etc",
  "/./../..",
  "/",
  "//",
  ".",
  "/vol/../../../srv",
  "/link-up/below",
  "/link-proc",
  "/link-root/etc",
  "/dev",
  "/dev/pts",
  "/sys",
  "/etc/hosts",
  "/etc/resolv.conf/below",
  "/dev/null",
  "C:\\data",
  "/a,b:c=d",
  "/vol\\040space \\011",
  `/${"deep/".repeat(200)}`,
];

test("VOLUMEs with tricks are made in the root file system, or the container is refused: the host has none", async () => {
  const { daemon } = fixture;
  const before = [treeDigest("/etc"), existsSync("/vol"), existsSync("/a,b:c=d")];
  const links = [
    { name: "link-up", type: "2", linkName: "../../../../.." },
    { name: "link-proc", type: "2", linkName: "/proc/self/root" },
    { name: "link-root", type: "2", linkName: "/proc/1/root" },
  ];
  const outcomes: string[] = [];
  for (const [index, volume] of VOLUMES.entries()) {
    const name = `volume-${index}`;
    const image = await importHostile(daemon, name, { layers: [links], run: { Volumes: { [volume]: {} } } });
    const id = await createContainer(daemon, sandboxId, { name, image: { image } });
    const refusal = await daemon.api.startContainer({ containerId: id }).then(
      () => undefined,
      (error: Error) => error.message,
    );
    outcomes.push(refusal === undefined ? "inside" : "refused");
    if (refusal !== undefined) {
      expect(refusal).toMatch(/: E(LOOP|NOTDIR|XDEV|ROFS|INVAL|NOENT|PERM)/);
      continue;
    }
    // Mounts of the overlay are of the container's own root: nothing of the host's file systems is there.
    await execIn(daemon, id, "sh", "-c", "for f in /vol /srv /etc /link-up; do touch $f/pwned; done");
    const foreign = mountsOf(await containerPid(daemon, id)).filter(({ type }) =>
      /^(ext4|xfs|btrfs|virtiofs|9p)$/.test(type),
    );
    const files = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    expect(foreign.map(({ path }) => path).filter((path) => !files.includes(path))).toEqual([]);
  }
  expect([treeDigest("/etc"), existsSync("/vol"), existsSync("/a,b:c=d")]).toEqual(before);
  expect(outcomes.filter((outcome) => outcome === "inside").length).toBeGreaterThan(8);
  expect(outcomes).toContain("refused");
});

test("a VOLUME on /proc or below it neither hides the kernel's files nor stands for them", async () => {
  const { daemon } = fixture;
  const fake = [
    { name: "proc/sys/kernel/core_pattern", content: "forged\n" },
    { name: "proc/self/attr/exec", content: "forged\n" },
  ];
  for (const [index, volume] of [
    "/proc",
    "/proc/sys",
    "/proc/self/attr",
    "/proc/1",
    "/sys/kernel",
  ].entries()) {
    const name = `proc-volume-${index}`;
    const image = await importHostile(daemon, name, { layers: [fake], run: { Volumes: { [volume]: {} } } });
    const id = await createContainer(daemon, sandboxId, { name, image: { image } });
    const started = await daemon.api.startContainer({ containerId: id }).then(
      () => true,
      () => false,
    );
    if (!started) continue;
    expect(
      await shellIn(daemon, id, "cat /proc/self/attr/exec /proc/sys/kernel/core_pattern 2>/dev/null; true"),
    ).not.toContain("forged");
    expect(await shellIn(daemon, id, "cat /proc/self/comm")).toBe("cat");
  }
});

test("a mount of the caller's wins over what the image says of the same place", async () => {
  const { daemon } = fixture;
  const image = await importHostile(daemon, "covered", {
    run: { Volumes: { "/data": {}, "/data/below": {} } },
  });
  const mounts = [{ hostPath: daemon.root, containerPath: "/data", readonly: true } as Mount];
  const id = await runContainer(daemon, sandboxId, { name: "covered", image: { image }, mounts });
  expect((await execIn(daemon, id, "touch", "/data/below")).stderr).toContain("Read-only file system");
});
