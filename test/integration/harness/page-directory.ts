// SPDX-License-Identifier: Apache-2.0
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
import { packagedBusybox } from "../../fixtures/images/busybox.ts";
import { projectDir } from "../../fixtures/images/packages.ts";
import { commandsOf, type PageCommand } from "../../support/page-commands.ts";
import { binary, crictlBinary, type Daemon, hasCrictl } from "./daemon.ts";

/** The README and the pages of docs, as paths from the top of the project. */
export const pages: readonly string[] = [
  "README.md",
  ...readdirSync(join(projectDir, "docs")).map((name) => `docs/${name}`),
].filter((name) => name.endsWith(".md"));

export function commandsOfPage(page: string): PageCommand[] {
  return commandsOf(readFileSync(join(projectDir, page), "utf8"));
}

/** Where a reader of the pages is: at the top of the project, with a pod.yaml and a site.yaml of his own. */
export interface PageDirectory extends Disposable {
  readonly path: string;
  /** With a `podrt` that speaks to the test's daemon. */
  readonly env: Readonly<Record<string, string>>;
  /** What a page says of the machine's instance, as it is here. */
  here(text: string): string;
  /** What is written here, as a page would show it. */
  there(text: string): string;
}

export function makePageDirectory({ root, socket }: Daemon): PageDirectory {
  const path = mkdtempSync(join(tmpdir(), "podrt-docs-"));
  const bin = join(path, "bin");
  const www = join(path, "srv/www");
  for (const dir of [bin, www]) mkdirSync(dir, { recursive: true });
  symlinkSync(join(projectDir, "examples"), join(path, "examples"));
  writeFileSync(join(path, "pod.yaml"), demoPod());
  writeFileSync(join(path, "site.yaml"), siteManifest(www));
  writeFileSync(join(bin, "podrt"), wrapperOf(root));
  chmodSync(join(bin, "podrt"), 0o755);
  if (Bun.which("busybox") === null) symlinkSync(packagedBusybox(), join(bin, "busybox"));
  if (hasCrictl) symlinkSync(crictlBinary, join(bin, "crictl"));
  const places = [
    { there: "/run/podrt/podrt.sock", here: socket },
    { there: "/srv/www", here: www },
  ];
  return {
    path,
    env: { PATH: `${bin}:${process.env["PATH"]}` },
    here: (text) => places.reduce((changed, { there, here }) => changed.replaceAll(there, here), text),
    there: (text) => places.reduce((changed, { there, here }) => changed.replaceAll(here, there), text),
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Its busybox does not answer SIGTERM: a stop would take as long as it may. */
function demoPod(): string {
  const text = readFileSync(join(projectDir, "examples/demo-pod.yaml"), "utf8");
  return text.replace("spec:", "spec:\n  terminationGracePeriodSeconds: 1");
}

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
