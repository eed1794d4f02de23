// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import {
  demoPod,
  pageOf,
  runningPod,
  sharedNamespaceDemo,
} from "../../test/integration/harness/manifests.ts";
import { containerPid, pausePid } from "../../test/integration/harness/pods.ts";
import { namespaceOf } from "../../test/integration/harness/proc.ts";
import type { Demo } from "./instance.ts";
import type { Page } from "./page.ts";

const names = ["demo-pod", "shared-namespace-demo"];
/** What pulling both images may take over a slow line. */
const startTimeoutMs = 300_000;
const kinds = ["net", "ipc", "uts", "pid", "mnt", "cgroup"] as const;

/** Runs a command of podrt as a person would, and shows what it prints. */
export async function showCommand(page: Page, demo: Demo, ...args: readonly string[]): Promise<string> {
  page.command(`podrt ${args.join(" ")}`);
  const { code, stdout, stderr } = await demo.daemon.podrt(...args);
  page.output(`${stdout}${stderr}`);
  if (code !== 0) throw new Error(`podrt ${args.join(" ")} exited with ${code}: ${stderr}`);
  return stdout;
}

/** Both pods from their manifests, their containers, their pauses, and whose namespaces each process is in. */
export async function showPods(page: Page, demo: Demo): Promise<void> {
  page.title("Two pods from their manifests");
  for (const file of [demoPod, sharedNamespaceDemo]) {
    page.output(readFileSync(file, "utf8"));
    await showCommand(page, demo, "run", "--detach", relative(process.cwd(), file));
  }
  for (const name of names) await runningPod(demo.daemon, name, startTimeoutMs);

  page.title("The pods, their containers, and the pause of each");
  await showCommand(page, demo, "pods");
  await showCommand(page, demo, "ps", "-a");
  await showNamespaces(page, demo);
  await showCrictl(page, demo);
}

/** A table from /proc/PID/ns: equal letters in a column are one namespace. */
async function showNamespaces(page: Page, demo: Demo): Promise<void> {
  page.title("Which namespaces each process is in (from /proc; equal letters are one namespace)");
  const processes: [string, number | "self"][] = [["this machine", "self"]];
  for (const name of names) {
    const pod = await runningPod(demo.daemon, name);
    processes.push([`${name}: /pause`, await pausePid(demo.daemon, pod.sandboxId)]);
    for (const container of pod.containers) {
      processes.push([`${name}: ${container.name}`, await containerPid(demo.daemon, container.containerId)]);
    }
  }
  const columns = kinds.map((kind) => {
    const inodes = processes.map(([, pid]) => namespaceOf(pid, kind));
    const distinct = [...new Set(inodes)];
    return inodes.map((inode) =>
      inode === inodes[0] ? "host" : String.fromCharCode(64 + distinct.indexOf(inode)),
    );
  });
  page.table([
    ["process", "pid", ...kinds],
    ...processes.map(([name, pid], row) => [name, String(pid), ...columns.map((column) => column[row]!)]),
  ]);
}

async function showCrictl(page: Page, demo: Demo): Promise<void> {
  page.title("crictl sees the same pods");
  if (!existsSync(demo.crictl)) return page.note("crictl is not here: it is built where Go is installed.");
  for (const command of ["pods", "ps"]) {
    page.command(`crictl --runtime-endpoint unix://${demo.socket} ${command}`);
    page.output(await demo.daemon.crictl(command));
  }
}

/** nginx answers over the pod's address, and over localhost to its neighbour. */
export async function showRequests(page: Page, demo: Demo): Promise<void> {
  page.title("nginx answers");
  const pod = await runningPod(demo.daemon, "demo-pod");
  const url = `http://${pod.addresses[0]}/`;
  page.command(`curl ${url}`);
  const text = await pageOf(pod);
  page.output(text);
  page.result(text.includes("Welcome to nginx!"), "the host reaches nginx at the pod's address");
  const inside = await showCommand(
    page,
    demo,
    "exec",
    "demo-pod/app2",
    "--",
    "wget",
    "-qO-",
    "http://localhost",
  );
  page.result(inside.includes("Welcome to nginx!"), "its neighbour in the pod reaches it at localhost");

  page.title("In the shared pod, everybody sees everybody, and the pause is PID 1");
  await showCommand(page, demo, "exec", "shared-namespace-demo/shell", "--", "ps", "ax");
}
