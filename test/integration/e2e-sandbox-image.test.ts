// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { NamespaceMode, PodSandboxState } from "../../src/gen/runtime/v1/api_pb.ts";
import { startImageRegistry } from "../fixtures/images/prepare.ts";
import { patience } from "../support/patience.ts";
import { startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { pausePid, runContainer, runSandbox, sandboxInfo, sandboxStatus, shellIn } from "./harness/pods.ts";
import { namespaceOf, procLink, procText, statusField } from "./harness/proc.ts";

setDefaultTimeout(60_000 * patience);

const pauseImage = "registry.k8s.io/pause:3.9";
const httpdImage = "registry.k8s.io/e2e-test-images/httpd:2.4.39-4";
const fixture = useDaemon({ config: `[image]\nsandbox_image = "${httpdImage}"\n` });

test("the entrypoint of the sandbox image is the pod's pause, in its namespaces and without privilege", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "httpd", { linux: {} });
  const { network } = await sandboxStatus(daemon, sandboxId);
  const page = await eventually("the sandbox image serves its page", async () =>
    (await fetch(`http://${network!.ip}/`, { signal: AbortSignal.timeout(2000) })).text(),
  );
  expect(page).toContain("It works!");
  const pause = await pausePid(daemon, sandboxId);
  expect(procText(`/proc/${pause}/cmdline`).split("\0")).toContain("httpd");
  for (const kind of ["net", "ipc", "uts", "pid", "mnt"] as const)
    expect(namespaceOf(pause, kind)).not.toBe(namespaceOf("self", kind));
  expect(statusField(pause, "NSpid").split(/\s+/).at(-1)).toBe("1");
  for (const set of ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"])
    expect(BigInt(`0x${statusField(pause, set)}`)).toBe(0n);
  expect(statusField(pause, "NoNewPrivs")).toBe("1");
  const mounts = procText(`/proc/${pause}/mountinfo`).trim().split("\n");
  expect(mounts.map((line) => line.split(" ").slice(4, 6).join(" ").replace(/,.*/, ""))).toEqual([
    "/ ro",
    "/proc ro",
  ]);
  expect(await sandboxInfo(daemon, sandboxId)).toMatchObject({ image: httpdImage });

  const id = await runContainer(daemon, sandboxId, { name: "shares", linux: {} });
  expect(await shellIn(daemon, id, "ps -o pid,args")).toMatch(/^ +1 httpd /m);
  expect(await shellIn(daemon, id, "wget -qO- http://localhost/")).toContain("It works!");
});

test("it is pinned; its layers stay while a pod stands on them, and go with it", async () => {
  const { daemon } = fixture;
  await daemon.removeEverything();
  const sandboxId = await runSandbox(daemon, "stays");
  const { image } = await daemon.api.imageStatus({ image: { image: httpdImage } });
  expect(image?.pinned).toBe(true);
  for (const { id } of (await daemon.api.listImages({})).images)
    if (id !== image?.id) await daemon.api.removeImage({ image: { image: id } });
  await daemon.api.removeImage({ image: { image: httpdImage } });
  const pause = await pausePid(daemon, sandboxId);
  expect(existsSync(`/proc/${pause}/root/usr/local/bin/httpd-foreground`)).toBe(true);
  await daemon.kill();
  await daemon.start();
  expect(await pausePid(daemon, sandboxId)).toBe(pause);
  expect((await sandboxStatus(daemon, sandboxId)).state).toBe(PodSandboxState.SANDBOX_READY);
  expect(existsSync(join(daemon.root, "lib/containers", sandboxId))).toBe(true);
  await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
  expect(existsSync(join(daemon.root, "lib/containers", sandboxId))).toBe(false);
  await eventually("its layers are gone", () => readdirSync(join(daemon.root, "lib/layers")).length === 1);
});

test("user and groups are the pod's where it names them, else the image's", async () => {
  const { daemon } = fixture;
  const securityContext = {
    runAsUser: { value: 1234n },
    runAsGroup: { value: 5678n },
    supplementalGroups: [9n],
  };
  const named = await pausePid(daemon, await runSandbox(daemon, "named", { linux: { securityContext } }));
  expect(statusField(named, "Uid")).toStartWith("1234\t1234");
  expect(statusField(named, "Gid")).toStartWith("5678\t5678");
  expect(statusField(named, "Groups").trim()).toBe("9 5678");
  const unnamed = await pausePid(daemon, await runSandbox(daemon, "unnamed"));
  expect(statusField(unnamed, "Uid")).toStartWith("0\t0");
});

test("in a user namespace it owns its files and is nobody to the machine", async () => {
  const { daemon } = fixture;
  const map = [{ containerId: 0, hostId: 200_000, length: 65_536 }];
  const usernsOptions = { mode: NamespaceMode.POD, uids: map, gids: map };
  const linuxOf = (pid: NamespaceMode) => ({ securityContext: { namespaceOptions: { pid, usernsOptions } } });
  const own = await runSandbox(daemon, "mapped-own-pids", { linux: linuxOf(NamespaceMode.CONTAINER) });
  expect(statusField(await pausePid(daemon, own), "NSpid")).toMatch(/^\d+\t1$/);
  const sandboxId = await runSandbox(daemon, "mapped", { linux: linuxOf(NamespaceMode.POD) });
  const pause = await pausePid(daemon, sandboxId);
  expect(statusField(pause, "Uid")).toStartWith("200000\t200000");
  expect(namespaceOf(pause, "user")).not.toBe(namespaceOf("self", "user"));
  const { network } = await sandboxStatus(daemon, sandboxId);
  const page = await eventually("the sandbox image serves its page", async () =>
    (await fetch(`http://${network!.ip}/`, { signal: AbortSignal.timeout(2000) })).text(),
  );
  expect(page).toContain("It works!");
});

test("a real pause image reaps the orphans of a shared pid namespace", async () => {
  await using registry = await startImageRegistry();
  const daemon = await startDaemon({
    mirror: registry.host,
    config: `[image]\nsandbox_image = "${pauseImage}"\n`,
  });
  try {
    const sandboxId = await runSandbox(daemon, "reaps", { linux: {} });
    const pause = await pausePid(daemon, sandboxId);
    expect(procLink(`/proc/${pause}/exe`)).toBe("/pause");
    expect(statusField(pause, "Uid")).toStartWith("65535\t");
    const id = await runContainer(daemon, sandboxId, { name: "orphans", linux: {} });
    await shellIn(daemon, id, "(sleep 0.1 &) ; (true &) ; true");
    await eventually("no zombie is left", async () => {
      const states = await shellIn(daemon, id, "ps -o pid,stat,args");
      return !/ Z | sleep 0\.1/.test(states);
    });
  } finally {
    await daemon.close();
  }
});

test("a sandbox image that cannot be had, or has no command, fails the pod and leaves nothing", async () => {
  const broken = {
    "registry.k8s.io/no/such:image": /sandbox image is not there: .*no\/such:image.*404/,
    "registry.k8s.io/podrt/no-command:latest": /no-command:latest has no command to run/,
  };
  await using registry = await startImageRegistry();
  for (const [name, message] of Object.entries(broken)) {
    const config = `[image]\nsandbox_image = "${name}"\n`;
    const daemon = await startDaemon({ mirror: registry.host, config });
    try {
      const error = await runSandbox(daemon, "broken").then(
        () => "it ran",
        (error: unknown) => ConnectError.from(error).rawMessage,
      );
      expect(error).toMatch(message);
      expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
      expect(await daemon.leftovers()).toEqual([]);
    } finally {
      await daemon.close();
    }
  }
});
