// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";

const podCalled = (name: string) =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {containers: [{name: app, image: busybox}]}\n`;

test("apply and delete take manifests as kubectl does, and beside them", async () => {
  let names: string[] = [];
  const removed: string[] = [];
  await using daemon = await startFakeDaemon({
    pods: {
      runPod({ files }) {
        names = files.map(({ name }) => name);
        return {
          pods: [{ namespace: "default", name: "a" }],
          outcomes: ["created"],
        };
      },
      listPods: () => ({
        pods: ["a", "b", "c"].map((name) => ({ name: { namespace: "default", name, uid: name } })),
      }),
      deletePod({ name }) {
        removed.push(name);
        return {};
      },
    },
  });
  const [a = "", b = ""] = ["a", "b"].map((name) => {
    const path = join(daemon.directory, `${name}.yaml`);
    writeFileSync(path, podCalled(name));
    return path;
  });
  expect(await runCommand(daemon.socketPath, ["apply", a, "-f", b])).toEqual({
    exitCode: 0,
    out: "a created\n",
    err: "",
  });
  expect(names).toEqual([a, b]);
  expect((await runCommand(daemon.socketPath, ["delete", "-f", a, "--filename", b])).out).toBe("a\nb\n");
  expect(removed.sort()).toEqual(["a", "b"]);
  // As kubectl has it.
  expect(await runCommand(daemon.socketPath, ["delete", "pod", "web"])).toEqual({
    exitCode: 2,
    out: "",
    err: "podrt: pod is no manifest that is there; `podrt rm -f web` removes a pod\n",
  });
  for (const command of ["apply", "down"]) {
    expect(await runCommand(daemon.socketPath, [command])).toEqual({
      exitCode: 2,
      out: "",
      err: expect.stringContaining("name a manifest: a file, a directory, a URL, or - for standard input"),
    });
  }
});
