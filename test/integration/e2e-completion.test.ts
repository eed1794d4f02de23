// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { patience } from "../support/patience.ts";
import { binary } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { hasTmux, openTmux, type TmuxScreen } from "./harness/tmux.ts";

// What a person gets who presses the Tab key, in the shells themselves.

const fixture = useDaemon();
const MANIFEST = `apiVersion: v1
kind: Pod
metadata: {name: webserver}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: front, image: busybox, command: [sleep, '3600']}]
`;

beforeAll(async () => {
  const { code } = await fixture.daemon.podrtWith(
    { stdin: MANIFEST },
    ...["run", "--detach", "--wait", "60", "-"],
  );
  expect(code).toBe(0);
  const work = workDir();
  mkdirSync(join(work, "manifests"), { recursive: true });
  writeFileSync(join(work, "manifests/pod one.yaml"), MANIFEST);
});
afterAll(() => fixture.daemon.podrt("rm", "-f", "webserver"));

const AGAIN_MS = 10_000;
const TIMEOUT_MS = 240_000 * patience;

const workDir = () => join(fixture.daemon.root, "work");

/** How each shell is started without anybody's own settings, and made to know podrt. */
const SHELLS = {
  bash: ["bash --norc --noprofile -i", "PS1='$ '", "source <(podrt completion bash)"],
  zsh: ["zsh -f -i", "PS1='$ '; autoload -U compinit; compinit -u -D", "source <(podrt completion zsh)"],
  fish: [
    "fish --no-config -i",
    "function fish_prompt; echo '$ '; end; function fish_greeting; end; set -g fish_autosuggestion_enabled 0",
    "podrt completion fish | source",
  ],
} as const;

/** What is typed before Tab, and what the line is then. */
const LINES: readonly (readonly [typed: string, line: string])[] = [
  ["podrt cronj", "podrt cronjobs"],
  ["podrt volume l", "podrt volume ls"],
  ["podrt rm --for", "podrt rm --force"],
  ["podrt rm -f webs", "podrt rm -f webserver"],
  ["podrt exec -it webserver/", "podrt exec -it webserver/front"],
  ["podrt exec fro", "podrt exec front"],
  ["podrt cp fro", "podrt cp front:"],
  ["podrt cp manifests/po", "podrt cp manifests/pod\\ one.yaml"],
  ["podrt pods -o ya", "podrt pods -o yaml"],
  ["podrt run --pull=mis", "podrt run --pull=missing"],
  ["podrt inspect docker.io/library/busybox:lat", "podrt inspect docker.io/library/busybox:latest"],
  ["podrt apply manifests/pod", "podrt apply manifests/pod\\ one.yaml"],
  ["podrt serve --root mani", "podrt serve --root manifests/"],
  ["podrt help volume r", "podrt help volume rm"],
];

async function startShell(name: keyof typeof SHELLS): Promise<TmuxScreen> {
  const screen = await openTmux({ width: 120, height: 40 });
  const { socket } = fixture.daemon;
  await screen.type(
    `cd ${workDir()}; export PATH=${dirname(binary)}:$PATH PODRT_SOCKET=${socket} HOME=${workDir()}`,
  );
  const [start, settings, load] = SHELLS[name];
  await screen.type(start);
  await screen.type(settings);
  await screen.type(load);
  await screen.type("clear; echo it is ready");
  await screen.until("the shell", (rows) => rows[0] === "it is ready" && rows[1] === "$");
  await screen.type("clear");
  await screen.until("a prompt", (rows) => rows.length === 1 && rows[0] === "$");
  return screen;
}

const missing = Object.keys(SHELLS).filter((name) => Bun.which(name) === null);
if (missing.length > 0) console.log(`skipped: completion in ${missing.join(" and ")}, not installed`);

describe.each(Object.keys(SHELLS) as (keyof typeof SHELLS)[])("in %s", (name) => {
  // A shell that is not there cannot be tried.
  test.skipIf(!hasTmux || missing.includes(name))(
    "the Tab key completes",
    async () => {
      await using screen = await startShell(name);
      for (const [typed, line] of LINES) {
        await screen.write(typed);
        await screen.until(typed, (rows) => rows[0] === `$ ${typed}`);
        // Once more where the daemon took longer than somebody waits: it has offered nothing then.
        const again = setInterval(() => void screen.key("Tab"), AGAIN_MS);
        try {
          await screen.key("Tab");
          await screen.until(`${line} after Tab`, ([row]) => row === `$ ${line}`);
        } finally {
          clearInterval(again);
        }
        // Away with the line, as if it had been a mistake.
        await screen.key("C-u");
        await screen.type("clear");
        await screen.until("a prompt", (rows) => rows.length === 1 && rows[0] === "$");
      }
    },
    TIMEOUT_MS,
  );
});
