// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { type CommandResult, runCommand } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";

// The commands in the scripts of people: pipes, substitutions, exit codes.

const fixture = useDaemon();
const SCRIPT = "seq 1 300000; exec sleep 3600";
const MANIFEST = ["one", "two"]
  .map(
    (name) => `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app-${name}, image: busybox, command: [sh, -c, '${SCRIPT}']}]
`,
  )
  .join("---\n");

/** What bash does with a line of a script. */
function bash(line: string, env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
  const path = `${dirname(binary)}:${process.env["PATH"]}`;
  return runCommand("bash", ["-c", line], {
    stdin: MANIFEST,
    env: { PATH: path, PODRT_SOCKET: fixture.daemon.socket, NO_COLOR: "", CLICOLOR_FORCE: "", ...env },
  });
}

beforeAll(async () => {
  expect((await bash("podrt run --detach --wait 60 -")).code).toBe(0);
});

test("lists are read by programs in every format", async () => {
  const json = JSON.parse((await bash("podrt pods -o json")).stdout) as Record<string, unknown>[];
  expect(json.map(({ name }) => name).toSorted()).toEqual(["one", "two"]);
  expect(parse((await bash("podrt pods -o yaml")).stdout)).toEqual(json);
  const filled = await bash("podrt pods -o 'template={.name}\\t{.status}\\t{.ip}' | sort");
  const [first, second] = json.toSorted((a, b) => (`${a["name"]}` < `${b["name"]}` ? -1 : 1));
  expect(filled.stdout).toBe(`one\tRunning\t${first!["ip"]}\ntwo\tRunning\t${second!["ip"]}\n`);
  const wide = await bash("podrt ps -o wide");
  const ids = JSON.parse((await bash("podrt ps -o json")).stdout) as { readonly id: string }[];
  for (const { id } of ids) expect(wide.stdout).toContain(id);
});

test("names of lists are what other commands take, and so are beginnings of ids", async () => {
  const names = await bash(
    "podrt ps -o name | sort | xargs -n 1 podrt inspect -o 'template={.container.status.metadata.name}'",
  );
  expect(names).toEqual({ code: 0, stdout: "app-one\napp-two\n", stderr: "" });
  const ids = await bash(
    "podrt ps -o 'template={.id}' | cut -c 1-12 | xargs -n 1 podrt inspect -o 'template={.container.status.metadata.name}' | sort",
  );
  expect(ids.stdout).toBe("app-one\napp-two\n");
  const image = await bash(
    "podrt inspect -o 'template={.image.status.repoTags[0]}' $(podrt images -o 'template={.id}' | cut -d : -f 2 | cut -c 1-12 | head -n 1)",
  );
  expect(image.stdout).toMatch(/^\S+\/\S+:\S+\n$/);
  expect((await bash("podrt exec two -- echo the only container")).stdout).toBe("the only container\n");
});

test("colours are for terminals and who asks for them", async () => {
  expect((await bash("podrt pods")).stdout).not.toContain("\u001b");
  expect((await bash("podrt pods", { CLICOLOR_FORCE: "1" })).stdout).toContain("\u001b[32mRunning");
  expect((await bash("podrt pods --color always")).stdout).toContain("\u001b[32mRunning");
  expect((await bash("podrt pods", { CLICOLOR_FORCE: "1", NO_COLOR: "1" })).stdout).not.toContain("\u001b");
});

test("exit codes say what became of it", async () => {
  const codes: Record<string, number> = {};
  for (const line of [
    "podrt pods",
    "podrt stop nothing",
    "podrt pods --frobnicate",
    "podrt exec one -- sh -c 'exit 42'",
    "podrt pods --socket /nothing",
    "set -o pipefail; podrt logs one | head -n 1",
  ]) {
    codes[line] = (await bash(line)).code;
  }
  expect(Object.values(codes)).toEqual([0, 1, 2, 42, 1, 141]);
});

test("the binary carries its manual pages and completions", async () => {
  const dir = mkdtempSync(join(tmpdir(), "podrt-man-"));
  try {
    expect((await bash(`podrt man ${dir}`)).code).toBe(0);
    expect(readdirSync(dir)).toContain("podrt-run.1");
  } finally {
    rmSync(dir, { recursive: true });
  }
  expect(await bash("podrt completion bash | bash -n")).toEqual({ code: 0, stdout: "", stderr: "" });
  expect((await bash("podrt help run")).stdout).toContain("\nExamples:\n  podrt run pod.yaml\n");
});

test("all pods go by their names", async () => {
  const { code, stdout } = await bash("podrt rm -f $(podrt pods -o name)");
  expect({ code, names: stdout.trim().split("\n").toSorted() }).toEqual({ code: 0, names: ["one", "two"] });
  expect((await bash("podrt pods -o name")).stdout).toBe("");
});
