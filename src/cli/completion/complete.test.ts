// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate, statuses } from "../fake-pods.ts";
import { describeCommand, runnable } from "../manual/describe.ts";
import { commandTree } from "../program.ts";
import { complete } from "./complete.ts";

/** What is offered when the daemon has one of each kind, by its name. */
async function offered(...words: string[]): Promise<string[]> {
  const { candidates, files } = await complete(commandTree(), words, async (kind) => [
    { value: `a-${kind}`, text: "" },
  ]);
  return [...candidates.map(({ value }) => value), ...(files === "none" ? [] : [files])];
}

describe("completion offers", () => {
  test.each([
    ["commands", ["po"], ["pods", "port-forward", "policy"]],
    ["commands after options of the program", ["--root", "/x", "vers"], ["version"]],
    ["what is below a command", ["volume", ""], ["ls", "rm"]],
    ["nothing for what there is not", ["frobnicate"], []],
    ["the commands of help", ["help", "volume", "r"], ["rm"]],
    ["options", ["rm", "--f"], ["--force"]],
    ["options after operands", ["logs", "web", "--fol"], ["--follow"]],
    ["the values of options", ["pods", "-o", "j"], ["json"]],
    ["and with an equals sign", ["run", "--pull=a"], ["--pull=always"]],
    ["after flags in one word", ["pods", "-o", "t"], ["table", "template="]],
    ["nothing for a value of any kind", ["rm", "-t", ""], []],
    ["operands after such a value", ["rm", "-t", "5", ""], ["a-pod"]],
    ["and after one in the same word", ["rm", "-ft5", ""], ["a-pod"]],
    ["pods", ["stop", "a"], ["a-pod"]],
    ["several, each once", ["stop", "a-pod", ""], []],
    ["pods and containers", ["why", ""], ["a-pod", "a-container"]],
    ["containers", ["exec", "-it", ""], ["a-container"]],
    ["nothing in a container's command", ["exec", "web", ""], []],
    ["nor its options", ["exec", "web", "--", "ls", "-"], []],
    ["pods, containers and images", ["inspect", "a-"], ["a-pod", "a-container", "a-image"]],
    ["images and files", ["run", ""], ["a-image", "files"]],
    ["files after a manifest", ["run", "pod.yaml", ""], ["files"]],
    ["files", ["apply", "x"], ["files"]],
    ["an option's file", ["doctor", "--config", ""], ["files"]],
    ["an option's directory", ["pods", "--root", ""], ["directories"]],
    ["an option's pod", ["run", "--pod", ""], ["a-pod"]],
    ["containers to copy from, and files", ["cp", ""], ["a-container:", "files"]],
    ["none where a path in one is begun", ["cp", "a-container:/e"], ["files"]],
    ["nothing for a value of two parts", ["run", "--net", ""], []],
    ["volumes", ["volume", "rm", ""], ["a-volume"]],
    ["shells", ["completion", ""], ["bash", "zsh", "fish"]],
    ["nothing for a registry's host", ["registry", "check", ""], []],
    ["no word of its own", ["__c"], []],
  ])("%s", async (_what, words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });

  test("every command, and every option of each", async () => {
    for (const { words, optionGroups } of runnable(describeCommand(commandTree()))) {
      expect(await offered(...words)).toContain(words.at(-1)!);
      const flags = optionGroups.flatMap(({ options }) => options.map(({ flags }) => flags));
      const long = flags.map((text) => /--[\w-]+|^-\w$/.exec(text)![0]);
      expect((await offered(...words, "-")).toSorted()).toEqual(long.toSorted());
    }
  });

  test("what the words named the daemon by", async () => {
    const asked: object[] = [];
    for (const words of [
      ["--root", "/r", "stop", ""],
      ["stop", "--socket=/s", ""],
      ["stop", ""],
    ]) {
      await complete(commandTree(), words, async (_kind, _prefix, options) => {
        asked.push({ ...options });
        return [];
      });
    }
    expect(asked).toEqual([{ root: "/r" }, { socket: "/s" }, {}]);
  });
});

describe("the names of a daemon", () => {
  const listImages = () => ({
    images: [{ id: `sha256:${id("1")}`, repoTags: ["docker.io/library/nginx:latest"], size: 5n }],
  });

  async function answer(...words: string[]): Promise<string[]> {
    await using daemon = await startFakeDaemon({ runtime: statuses, images: { listImages } });
    populate(daemon);
    const { out, err, exitCode } = await runCommand(daemon.socketPath, ["__complete", "--", ...words]);
    expect({ err, exitCode }).toEqual({ err: "", exitCode: 0 });
    return out.trimEnd().split("\n");
  }

  test("are those of pods with what they do", async () => {
    expect(await answer("rm", "")).toEqual(["none", "demo\tpod, Running", "kube-system/other\tpod, Ready"]);
  });

  test("are those of containers with their pods, and alone once they begin", async () => {
    expect(await answer("exec", "")).toEqual([
      "none",
      "demo/app1\tcontainer, running",
      "kube-system/other/etcd\tcontainer, running",
    ]);
    expect(await answer("exec", "et")).toEqual(["none", "etcd\tcontainer, running, of kube-system/other"]);
  });

  test("are ids where one has been begun", async () => {
    expect(await answer("rm", "cc")).toEqual(["none", `${"c".repeat(13)}\tpod kube-system/other`]);
    expect(await answer("inspect", "11")).toEqual([
      "none",
      `${"1".repeat(13)}\tdocker.io/library/nginx:latest`,
    ]);
  });

  test("are those of images, as short as one types them", async () => {
    expect(await answer("pull", "ng")).toEqual(["none", "nginx\timage"]);
    expect(await answer("pull", "docker")).toEqual(["none", "docker.io/library/nginx:latest\timage"]);
  });

  test("are none without a daemon, or one that does not answer soon", async () => {
    const argv = ["__complete", "--", "rm", ""];
    expect(await runCommand("/tmp/podrt-none.sock", argv)).toEqual({ exitCode: 0, out: "none\n", err: "" });
    await using daemon = await startFakeDaemon({ pods: { listPods: () => new Promise<never>(() => {}) } });
    expect(await runCommand(daemon.socketPath, argv)).toEqual({ exitCode: 0, out: "none\n", err: "" });
  });
});
