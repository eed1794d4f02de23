// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { openSession } from "../fixtures/session-client.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerStatus, execIn, exited, runContainer, shellIn } from "./harness/pods.ts";

/** Where `scripts/fetch-runsc.sh` finds or puts it. */
const runsc = ["/usr/bin/runsc", join(buildDir, "packages/runsc/root/usr/bin/runsc")].find((path) =>
  existsSync(path),
);
if (runsc === undefined) console.log("skipped: pods in gVisor, because runsc is not here");

setDefaultTimeout(120_000 * patience);
const waitMs = 60_000;
const scratch = mkdtempSync(join(tmpdir(), "podrt-gvisor-"));
afterAll(() => rmSync(scratch, { recursive: true }));

// An OCI runtime whose containers are processes of a kernel of its own; the host sees that kernel alone. Its options
// come from a script: podrt gives none.
describe.skipIf(runsc === undefined)("gVisor", () => {
  const handler = join(scratch, "runsc");
  writeFileSync(handler, `#!/bin/sh\nexec ${runsc} --platform ptrace --network host "$@"\n`, { mode: 0o755 });
  const fixture = useDaemon({ config: `[runtimes.gvisor]\ntype = "oci"\npath = "${handler}"\n` });

  async function podOf(name: string, logDirectory = ""): Promise<string> {
    const config = { metadata: { name, namespace: "default", uid: name }, logDirectory };
    return (await fixture.daemon.api.runPodSandbox({ config, runtimeHandler: "gvisor" })).podSandboxId;
  }

  test("a container has its process, output, commands and end, and the pod's network", async () => {
    const { daemon } = fixture;
    const logs = mkdtempSync(join(scratch, "logs-"));
    const pod = await podOf("pod", logs);
    const id = await runContainer(daemon, pod, {
      name: "app",
      command: [
        "sh",
        "-c",
        'echo "hello $GREETED"; echo oops >&2; trap "exit 7" TERM; echo served >/tmp/index.html; httpd -p 8080 -h /tmp; while :; do sleep 0.1; done',
      ],
      envs: [{ key: "GREETED", value: Buffer.from("world") }],
      logPath: "app.log",
      linux: { securityContext: { runAsUser: { value: 1000n } } },
    } as never);
    await eventually(
      "both lines are in the log",
      () => {
        const log = readFileSync(join(logs, "app.log"), "utf8");
        return log.includes("stdout F hello world") && log.includes("stderr F oops");
      },
      waitMs,
    );
    const [user, kernel] = (await shellIn(daemon, id, "id -u; uname -r")).split("\n");
    expect(user).toBe("1000");
    expect(kernel).not.toBe(release());
    expect(await execIn(daemon, id, "sh", "-c", "echo out; echo err >&2; exit 3")).toEqual({
      code: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    const { status } = await daemon.api.podSandboxStatus({ podSandboxId: pod });
    const page = await eventually(
      "its server answers at the pod's address",
      async () => (await fetch(`http://${status!.network!.ip}:8080/`)).text(),
      waitMs,
    );
    expect(page).toBe("served\n");
    const { stats } = await daemon.api.containerStats({ containerId: id });
    expect(stats?.memory?.workingSetBytes?.value).toBeGreaterThan(0n);
    await daemon.api.stopContainer({ containerId: id, timeout: 60n });
    expect(await containerStatus(daemon, id)).toMatchObject({ exitCode: 7, reason: "Error" });
    expect(existsSync(join(daemon.root, "run/pods", pod, "oci", id))).toBe(false);
  });

  test("a terminal is the container's, and an exec's with its size", async () => {
    const { daemon } = fixture;
    const logs = mkdtempSync(join(scratch, "logs-"));
    const id = await runContainer(daemon, await podOf("tty", logs), {
      name: "app",
      command: ["sh", "-c", "test -t 0 && echo a terminal; exec sleep 3600"],
      tty: true,
      logPath: "app.log",
    });
    await eventually(
      "it has a terminal",
      () => readFileSync(join(logs, "app.log"), "utf8").includes("stdout F a terminal"),
      waitMs,
    );
    const streams = { stdin: true, stdout: true, tty: true };
    const { url } = await daemon.api.exec({ containerId: id, cmd: ["sh"], ...streams });
    const session = await openSession(url, "websocket", streams);
    await session.resize(123, 45);
    await eventually(
      "the size is the terminal's",
      async () => {
        await session.write("stty size\n");
        await Bun.sleep(50);
        return session.stdout().includes("45 123");
      },
      waitMs,
    );
    await session.write("exit 4\n");
    expect((await session.status()).details?.causes[0]?.message).toBe("4");
  });

  test("it goes on without the daemon, and an exit meanwhile is known afterwards", async () => {
    const { daemon } = fixture;
    const pod = await podOf("away");
    const ends = await runContainer(daemon, pod, {
      name: "ends",
      command: ["sh", "-c", "sleep 2; exit 42"],
    });
    const lasts = await runContainer(daemon, pod, { name: "lasts" });
    await daemon.kill();
    await Bun.sleep(3000);
    await daemon.start();
    expect((await exited(daemon, ends)).exitCode).toBe(42);
    expect(await shellIn(daemon, lasts, "echo still here")).toBe("still here");
  });
});
