// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packagedBusybox } from "../fixtures/images/busybox.ts";
import { projectDir } from "../fixtures/images/packages.ts";
import { commandsOf, isAsShown, type PageCommand } from "../support/page-commands.ts";
import { patience } from "../support/patience.ts";
import { binary, crictlBinary, hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { openShell, type Shell } from "./harness/shell.ts";

/*
 * The README and docs/*.md are right about the commands they show: those of blocks marked `run` are run here, in the order
 * of the page, by one shell for each page, in a directory that has examples/, pod.yaml and site.yaml. `podrt` is a
 * wrapper that adds `--root`; places of the machine's instance stand for those of the test's.
 */

interface NotRun {
  readonly page: string;
  /** How the command begins; without it the whole page is meant. */
  readonly command?: string;
  readonly why: string;
}

/** What is shown and not run here. */
const notRun: readonly NotRun[] = [
  { page: "README.md", command: "podrt serve &", why: "the test has started it" },
  { page: "README.md", command: "podrt run examples/demo-pod.yaml", why: "ends by Ctrl-C; e2e-run.test.ts" },
  {
    page: "README.md",
    command: "podrt run --rm -it busybox sh",
    why: "needs a terminal; e2e-run-image.test.ts",
  },
  { page: "README.md", command: "podrt exec -it", why: "needs a terminal; e2e-exec.test.ts" },
  { page: "README.md", command: "podrt port-forward", why: "goes on until Ctrl-C" },
  { page: "README.md", command: "podrt debug", why: "needs a terminal" },
  { page: "README.md", command: "podrt dashboard", why: "goes on until Ctrl-C" },
  { page: "docs/map.md", command: "podrt dashboard", why: "goes on until Ctrl-C" },
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
  { page: "docs/install.md", why: "changes the machine that it installs on" },
];

/** Commands that say with their exit code what they have found on the machine. */
const tellByCode = ["podrt doctor", "podrt registry check"];

const fixture = useDaemon();
const pages = ["README.md", ...readdirSync(join(projectDir, "docs")).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith(".md"),
);
const commandsOfPage = (page: string) => commandsOf(readFileSync(join(projectDir, page), "utf8"));
const exceptionFor = (page: string, { text }: PageCommand) =>
  notRun.find((entry) => entry.page === page && text.startsWith(entry.command ?? ""));

let scratch = "";

beforeAll(() => {
  const { daemon } = fixture;
  scratch = mkdtempSync(join(tmpdir(), "podrt-docs-"));
  symlinkSync(join(projectDir, "examples"), join(scratch, "examples"));
  const demoPod = readFileSync(join(projectDir, "examples/demo-pod.yaml"), "utf8");
  // Its busybox does not answer SIGTERM: a stop takes as long as it may.
  writeFileSync(
    join(scratch, "pod.yaml"),
    demoPod.replace("spec:", "spec:\n  terminationGracePeriodSeconds: 1"),
  );
  mkdirSync(join(scratch, "srv/www"), { recursive: true });
  writeFileSync(join(scratch, "site.yaml"), siteManifest(join(scratch, "srv/www")));
  const bin = join(scratch, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "podrt"), wrapperOf(daemon.root));
  chmodSync(join(bin, "podrt"), 0o755);
  if (Bun.which("busybox") === null) symlinkSync(packagedBusybox(), join(bin, "busybox"));
  if (hasCrictl) symlinkSync(crictlBinary, join(bin, "crictl"));
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const siteManifest = (dir: string) => `
apiVersion: v1
kind: Pod
metadata: {name: site}
spec:
  volumes: [{name: www, hostPath: {path: ${dir}}}]
  containers:
    - {name: web, image: nginx, volumeMounts: [{name: www, mountPath: /usr/share/nginx/html, readOnly: true}]}
`;

/** The pause takes no `--root`; every other command takes it behind its name, which may be two words. */
const wrapperOf = (root: string) => `#!/bin/sh
case "$1" in
pause | -*) exec ${binary} "$@" ;;
registry) words="$1 $2"; shift 2 ;;
*) words=$1; shift ;;
esac
exec ${binary} $words --root ${root} "$@"
`;

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
      const env = { ...process.env, PATH: `${join(scratch, "bin")}:${process.env["PATH"]}`, NO_COLOR: "1" };
      const shell = openShell({ cwd: scratch, env });
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
    const { code, output } = await shell.run(hereOf(command.text));
    const place = `${page}:${command.line}: ${command.text}`;
    const { output: shown } = command;
    const isFine =
      shown === undefined || shown === ""
        ? isExpected(command.text, code)
        : isAsShown(shown, thereOf(output));
    if (isFine && (shown !== "" || isAsShown("", output))) return true;
    throw new Error(`${place}\nexited with ${code} and wrote:\n${output}\ninstead of:\n${shown ?? ""}`);
  };
  if (command.isEventual) await eventually(command.text, attempt, 60_000, 200);
  else await attempt();
}

function isExpected(text: string, code: number): boolean {
  return code === 0 || (code === 1 && tellByCode.some((command) => text.startsWith(command)));
}

/** A command as the test has to say it, and its output as a page shows it. */
const hereOf = (text: string) => inPlace(text, "here");
const thereOf = (output: string) => inPlace(output, "there");

function inPlace(text: string, where: "here" | "there"): string {
  const places = [
    ["/run/podrt/podrt.sock", fixture.daemon.socket],
    ["/srv/www", join(scratch, "srv/www")],
  ] as const;
  return places.reduce(
    (changed, [there, here]) =>
      where === "here" ? changed.replaceAll(there, here) : changed.replaceAll(here, there),
    text,
  );
}
