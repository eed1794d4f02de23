// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { isAsShown, type PageCommand } from "../support/page-commands.ts";
import { patience } from "../support/patience.ts";
import { hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { commandsOfPage, makePageDirectory, type PageDirectory, pages } from "./harness/page-directory.ts";
import { openShell, type Shell } from "./harness/shell.ts";

/*
 * The README and docs/*.md are right about the commands they show: those of blocks marked `run` are run here, in the order
 * of the page, by one shell for each page, in a directory as the reader's (harness/page-directory.ts).
 */

interface NotRun {
  readonly page: string;
  /** How the command begins; without it the whole page is meant. */
  readonly command?: string;
  readonly why: string;
}

const atTerminal = "somebody has to sit there; docs-terminal.test.ts";

/** What is shown and not run here. */
const notRun: readonly NotRun[] = [
  { page: "README.md", command: "podrt serve &", why: "the test has started it" },
  { page: "README.md", command: "podrt run examples/demo-pod.yaml", why: atTerminal },
  { page: "README.md", command: "podrt run --rm -it busybox sh", why: atTerminal },
  { page: "README.md", command: "podrt exec -it", why: atTerminal },
  { page: "README.md", command: "podrt port-forward", why: atTerminal },
  { page: "README.md", command: "podrt debug", why: atTerminal },
  { page: "README.md", command: "podrt dashboard", why: atTerminal },
  { page: "docs/map.md", command: "podrt dashboard", why: atTerminal },
  { page: "docs/kubernetes.md", command: "make install", why: "writes into /usr/local" },
  { page: "docs/kubernetes.md", command: "systemctl", why: "needs systemd; make test-vm PART=systemd" },
  {
    page: "docs/kubernetes.md",
    command: "podrt setup crictl",
    why: "writes into /etc; setup-crictl.test.ts",
  },
  { page: "docs/kubernetes.md", command: "kubeadm", why: "make kubelet KUBEADM=1 runs it" },
  { page: "docs/map.md", command: "podrt map", why: "the numbers in its picture are an example's" },
  { page: "docs/reference.md", why: "src/cli/manual/manual.test.ts holds its examples against the commands" },
  { page: "docs/install.md", command: "make", why: "install.test.ts and dist.test.ts do it" },
  { page: "docs/install.md", command: "ctr", why: "e2e-pause-image.test.ts does it" },
  { page: "docs/install.md", command: "skopeo", why: "e2e-pause-image.test.ts does it" },
  { page: "docs/install.md", command: "systemctl", why: "needs systemd" },
  { page: "docs/install.md", command: "podrt pods", why: "cli.test.ts" },
  { page: "docs/install.md", command: "rm -r", why: "removes the machine's own" },
];

/** Commands that say with their exit code what they have found on the machine. */
const tellByCode = ["podrt doctor", "podrt registry check"];

const fixture = useDaemon();
const exceptionFor = (page: string, { text }: PageCommand) =>
  notRun.find((entry) => entry.page === page && text.startsWith(entry.command ?? ""));

let directory: PageDirectory;
beforeAll(() => {
  directory = makePageDirectory(fixture.daemon);
});
afterAll(() => directory[Symbol.dispose]());

test("each command of a page is run or has a reason why not", () => {
  const silent = pages.flatMap((page) =>
    commandsOfPage(page)
      .filter((command) => !command.isRun && exceptionFor(page, command) === undefined)
      .map(({ line, text }) => `${page}:${line}: ${text}`),
  );
  expect(silent).toEqual([]);
  const idle = notRun.filter(
    ({ page, command = "" }) =>
      pages.includes(page) && !commandsOfPage(page).some(({ text }) => text.startsWith(command)),
  );
  expect(idle).toEqual([]);
});

for (const page of pages) {
  const commands = commandsOfPage(page).filter((command) => command.isRun && !exceptionFor(page, command));
  if (commands.length === 0) continue;
  const missing = programsMissing(commands);
  const name = `the commands of ${page} do what it shows${missing.length > 0 ? `; missing: ${missing.join(", ")}` : ""}`;
  // Its readers install what is missing; the name says what that is.
  test.skipIf(missing.length > 0)(
    name,
    async () => {
      const env = { ...process.env, ...directory.env, NO_COLOR: "1" };
      const shell = openShell({ cwd: directory.path, env });
      try {
        for (const command of commands) await follow(shell, page, command);
      } finally {
        await shell.close();
        await fixture.daemon.removeEverything();
      }
    },
    300_000 * patience,
  );
}

/** Programs of the machine that a page's commands begin with, and that are not there. */
function programsMissing(commands: readonly PageCommand[]): string[] {
  const named = ["unshare", "nsenter", "lsns", "pgrep", "ip", "curl"].filter((program) =>
    commands.some(({ text }) => new RegExp(`\\b${program} `).test(text)),
  );
  return named.filter((program) => Bun.which(program) === null);
}

async function follow(shell: Shell, page: string, command: PageCommand): Promise<void> {
  if (command.text.startsWith("crictl") && !hasCrictl) return;
  const attempt = async () => {
    const { code, output } = await shell.run(directory.here(command.text));
    const place = `${page}:${command.line}: ${command.text}`;
    const { output: shown } = command;
    const isFine =
      shown === undefined || shown === ""
        ? isExpected(command.text, code)
        : isAsShown(shown, directory.there(output));
    if (isFine && (shown !== "" || isAsShown("", output))) return true;
    throw new Error(`${place}\nexited with ${code} and wrote:\n${output}\ninstead of:\n${shown ?? ""}`);
  };
  if (command.isEventual) await eventually(command.text, attempt, 60_000, 200);
  else await attempt();
}

function isExpected(text: string, code: number): boolean {
  return code === 0 || (code === 1 && tellByCode.some((command) => text.startsWith(command)));
}
