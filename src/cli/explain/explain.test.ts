// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";

const step = {
  name: "join the pod's namespaces",
  call: "setns(fd of the pause, CLONE_NEWNET)",
  tolerates: ["EBADF"],
};
const container = {
  name: "app",
  isInit: false,
  image: { reference: "busybox", policy: "Always", id: "sha256:1", step: "is here" },
  command: ["sh"],
  user: { uid: 7, gid: 8, groups: [8, 9] },
  workingDirectory: "/w",
  environment: ["PATH"],
  capabilities: ["CAP_CHOWN"],
  noNewPrivileges: true,
  seccomp: "runtime/default",
  mounts: [{ destination: "/d", type: "bind", source: "/s", options: ["rbind"] }],
  namespaces: ["pid: its own"],
  cgroup: { path: "/p/C", directories: [], settings: [{ file: "/x/memory.max", value: "5" }] },
  program: [{ name: "container app", depth: 1, steps: [step] }],
};
const plan = {
  notes: [],
  needs: [{ permission: "host-pid", place: "f:1:1: spec.hostPID", why: "it sees all", isAllowed: false }],
  pods: [
    {
      name: "default/web",
      owner: "Deployment/web",
      permissions: [],
      sandbox: {
        hostname: "web",
        directory: "/run/p",
        newNamespaces: ["network"],
        cgroup: { path: "/p/pause", directories: [], settings: [] },
        podCgroup: { path: "/p", directories: [], settings: [{ file: "/x/p/memory.max", value: "9" }] },
        sysctls: {},
        network: ["pin it"],
        program: [],
        unlisted: "the pause is that of image x",
      },
      containers: [container],
    },
  ],
  podsLeftOut: 2,
};

test("a plan that comes in pieces is printed, with the calls only where they are asked for", async () => {
  const asked: { files: string[]; allow: string[] }[] = [];
  let document: object = plan;
  await using daemon = await startFakeDaemon({
    pods: {
      async *explain({ files, allow }) {
        asked.push({ files: files.map(({ text }) => text), allow });
        const text = JSON.stringify(document);
        yield { text: text.slice(0, 50) };
        yield { text: text.slice(50) };
      },
    },
  });
  const file = join(daemon.directory, "pod.yaml");
  writeFileSync(file, "kind: Pod\n");
  const { out, exitCode } = await runCommand(daemon.socketPath, ["explain", file, "--allow-host-pid"]);
  expect(exitCode).toBe(0);
  expect(asked).toEqual([{ files: ["kind: Pod\n"], allow: ["host-pid"] }]);
  for (const line of [
    "  host-pid (not allowed: give --allow-host-pid)",
    "Pod default/web, of Deployment/web",
    "  Image busybox of app is here (policy Always)",
    "    cgroup of the pod /p",
    "      /x/p/memory.max = 9",
    "    network: pin it",
    "    launch program: not podrt's own: the pause is that of image x",
    '    runs ["sh"] in /w',
    "    as user 7, group 8 and 9",
    "      /x/memory.max = 5",
    "    mount /d: /s (rbind)",
    "    launch program: 1 system calls (--calls lists them)",
    "… and 2 more pods.",
  ]) {
    expect(out).toContain(`${line}\n`);
  }
  expect(out).not.toContain("setns");
  const calls = await runCommand(daemon.socketPath, ["explain", file, "--calls"]);
  expect(calls.out).toContain(
    "setns(fd of the pause, CLONE_NEWNET)  — join the pod's namespaces, EBADF may be\n",
  );
  document = {
    ...plan,
    pods: [{ ...plan.pods[0], containers: [{ ...container, command: [], problem: "no image" }] }],
  };
  const amiss = await runCommand(daemon.socketPath, ["explain", file]);
  expect(amiss.exitCode).toBe(1);
  expect(amiss.out).toContain("Problem: no image");
});
