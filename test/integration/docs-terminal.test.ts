// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { createServer } from "node:net";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { runningPod } from "./harness/manifests.ts";
import { commandsOfPage, makePageDirectory } from "./harness/page-directory.ts";
import { hasTmux, openTmux, type TmuxScreen } from "./harness/tmux.ts";

/* The commands of the README that somebody sits at, as they stand there. */

const fixture = useDaemon();
const size = { width: 200, height: 50 };

/** The command of the README that begins so. */
function commandOf(beginning: string): string {
  const found = commandsOfPage("README.md").find(({ text }) => text.startsWith(beginning));
  if (found === undefined) throw new Error(`README.md has no command that begins with ${beginning}`);
  return found.text;
}

const has = (text: string | RegExp) => (rows: readonly string[]) => {
  const shown = rows.join("\n");
  return typeof text === "string" ? shown.includes(text) : text.test(shown);
};
const endsAtPrompt = (rows: readonly string[]) => /^(\^C)?\$$/.test(rows.at(-1)?.trim() ?? "");

/** A shell in a container answers with the product, which nobody has typed, and ends. */
async function talkToShell(screen: TmuxScreen): Promise<void> {
  await screen.until("root's prompt in the container", (rows) => /# *$/.test(rows.at(-1) ?? ""));
  await screen.type("echo $((6*7)) by $(hostname)");
  await screen.until("what it has computed", has(/^42 by \S+$/m));
  await screen.type("exit");
  await screen.until("the prompt", endsAtPrompt);
}

// What is shown at a terminal is looked at in tmux.
test.skipIf(!hasTmux)(
  "the README's commands at a terminal",
  async () => {
    const { daemon } = fixture;
    using directory = makePageDirectory(daemon);
    await using screen = await openTmux(size);
    await screen.type(`cd ${directory.path} && PATH=${directory.env["PATH"]} && clear`);
    await screen.until("the prompt alone", (rows) => rows.length === 1 && endsAtPrompt(rows));
    const next = async (beginning: string, change = (text: string) => text) => {
      await screen.type("clear");
      await screen.until("the prompt alone", (rows) => rows.length === 1 && endsAtPrompt(rows));
      await screen.type(change(directory.here(commandOf(beginning))));
    };

    await next("podrt run examples/demo-pod.yaml", (text) => text.replace("examples/demo-pod", "pod"));
    await runningPod(daemon, "demo-pod", 60_000);
    await screen.key("C-c");
    await screen.until("the prompt", endsAtPrompt);
    expect((await daemon.pods.listPods({})).pods).toEqual([]);

    await next("podrt run --rm -it busybox sh");
    await talkToShell(screen);
    await eventually(
      "the pod of one image is gone",
      async () => (await daemon.pods.listPods({})).pods.length === 0,
    );

    expect((await daemon.podrtWith({ cwd: directory.path }, "run", "--detach", "pod.yaml")).code).toBe(0);
    await runningPod(daemon, "demo-pod", 60_000);
    await next("podrt exec -it app2");
    await talkToShell(screen);
    await next("podrt debug");
    await talkToShell(screen);

    const port = await freePort();
    await next("podrt port-forward", (text) => text.replaceAll("8080", String(port)));
    await screen.until("the address", has(`127.0.0.1:${port}`));
    const page = async () => (await fetch(`http://127.0.0.1:${port}/`, { keepalive: false })).text();
    expect(await eventually("nginx answers", page, 60_000)).toContain("Welcome to nginx!");
    await screen.key("C-c");
    await screen.until("the prompt", endsAtPrompt);

    await next("podrt dashboard");
    await screen.until("the address of the page", has(/http:\/\/127\.0\.0\.1:\d+\/\S+/));
    await screen.key("C-c");
    await screen.until("the prompt", endsAtPrompt);
  },
  300_000 * patience,
);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}
