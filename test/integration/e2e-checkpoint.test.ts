// SPDX-License-Identifier: Apache-2.0
import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { COUNTER, countsOn, runCounter, tar } from "./harness/counter.ts";
import { criu, criuConfig } from "./harness/criu.ts";
import { hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerPid, createContainer, exited, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { allPids, namespaceOf, parentOf } from "./harness/proc.ts";

const fixture = useDaemon({ config: criuConfig });
const dir = mkdtempSync(join(tmpdir(), "prt-checkpoint-"));

afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function refusal(call: Promise<unknown>): Promise<[string, string]> {
  try {
    await call;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return [Code[code], rawMessage];
  }
  throw new Error("it succeeded");
}

async function counter(name: string): Promise<string> {
  return await runCounter(fixture.daemon, await runSandbox(fixture.daemon, name), name);
}

/** The processes whose parent is outside of the container's process namespace, but for its first. */
function pidsBeside(pid: number): number[] {
  const own = namespaceOf(pid, "pid");
  return allPids().filter((other) => {
    try {
      return other !== pid && namespaceOf(other, "pid") === own && parentOf(other) === parentOf(pid);
    } catch {
      return false;
    }
  });
}

async function goesOn(id: string): Promise<void> {
  await countsOn(fixture.daemon, id);
}

// Debian's criu is older than many a kernel, and elsewhere there may be none.
describe.skipIf(criu === undefined)("CheckpointContainer", () => {
  test("writes an archive that only root may read, and the container goes on", async () => {
    const { daemon } = fixture;
    const id = await counter("counter");
    const pid = await containerPid(daemon, id);
    await shellIn(
      daemon,
      id,
      "echo kept >/root/note; ln -s note /root/link; rm /bin/busybox2 /etc/group; mkfifo /pipe; mkdir /empty",
    );
    const location = join(dir, "counter.tar");
    await daemon.api.checkpointContainer({ containerId: id, location });

    expect(statSync(location).mode & 0o777).toBe(0o600);
    const names = tar("-tf", location).trim().split("\n");
    expect(names).toContain("checkpoint/inventory.img");
    expect(names).toContain(`checkpoint/core-1.img`);
    for (const name of ["config.dump", "spec.dump", "rootfs-diff.tar", "dump.log"])
      expect(names).toContain(name);
    const config = JSON.parse(tar("-xOf", location, "config.dump"));
    expect(config).toMatchObject({ id, name: "counter", runtime: "podrt" });
    const spec = JSON.parse(tar("-xOf", location, "spec.dump"));
    expect(spec.process.args).toEqual(["sh", "-c", COUNTER]);

    mkdirSync(join(dir, "diff"));
    tar("-xf", location, "-C", join(dir, "diff"), "rootfs-diff.tar");
    const diff = join(dir, "diff/rootfs-diff.tar");
    expect(tar("-xOf", diff, "root/note")).toBe("kept\n");
    const changed = tar("-tvf", diff).trim().split("\n");
    expect(changed.some((line) => /root\/link -> note$/.test(line))).toBe(true);
    expect(changed.some((line) => /etc\/\.wh\.group$/.test(line))).toBe(true);
    expect(changed.some((line) => /^p.*pipe$/.test(line))).toBe(true);
    expect(changed.some((line) => /^d.*empty\/$/.test(line))).toBe(true);

    expect(await containerPid(daemon, id)).toBe(pid);
    await goesOn(id);
    expect(readdirSync(join(daemon.root, "lib/checkpoints"))).toEqual([]);
  });

  test("an exec that goes on, sockets and deleted open files are no hindrance; the exec is not in it", async () => {
    const { daemon } = fixture;
    const id = await counter("with-exec");
    const exec = daemon.api.execSync({
      containerId: id,
      cmd: ["sh", "-c", "sleep 2; echo done"],
      timeout: 30n,
    });
    const pid = await containerPid(daemon, id);
    await eventually("the exec runs", () => pidsBeside(pid).length > 0 || undefined);
    const location = join(dir, "with-exec.tar");
    await daemon.api.checkpointContainer({ containerId: id, location });
    expect(Buffer.from((await exec).stdout).toString()).toBe("done\n");
    const cores = tar("-tf", location).match(/checkpoint\/core-/g) ?? [];
    // The shell that counts and the sleep that it waits for.
    expect(cores.length).toBeLessThanOrEqual(2);
    await goesOn(id);
  });

  test("replaces an earlier archive, and leaves it alone where it fails", async () => {
    const { daemon } = fixture;
    const id = await counter("again");
    const location = join(dir, "again.tar");
    writeFileSync(location, "before");
    expect(await refusal(daemon.api.checkpointContainer({ containerId: "0123456789", location }))).toEqual([
      "NotFound",
      'there is no container "0123456789"',
    ]);
    expect(readFileSync(location, "utf8")).toBe("before");
    await daemon.api.checkpointContainer({ containerId: id, location });
    await daemon.api.checkpointContainer({ containerId: id, location });
    expect(tar("-tf", location)).toContain("checkpoint/inventory.img");
    expect(statSync(location).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("refuses containers that do not run and places where no file can be", async () => {
    const { daemon } = fixture;
    const sandbox = await runSandbox(daemon, "refused");
    const created = await createContainer(daemon, sandbox, { name: "created" });
    const location = join(dir, "refused.tar");
    const checkpoint = (containerId: string, where = location) =>
      refusal(daemon.api.checkpointContainer({ containerId, location: where }));
    expect((await checkpoint(created))[0]).toBe("FailedPrecondition");
    const ended = await runContainer(daemon, sandbox, { name: "ended", command: ["true"] });
    await exited(daemon, ended);
    expect(await checkpoint(ended)).toEqual([
      "FailedPrecondition",
      `container ${ended} cannot be checkpointed: it is exited, not running`,
    ]);
    const running = await runContainer(daemon, sandbox, { name: "running" });
    expect((await checkpoint(running, "relative.tar"))[1]).toStartWith("location: must be an absolute path");
    expect((await checkpoint(running, dir))[1]).toStartWith(`location: ${dir} exists and is no regular file`);
    const [code, message] = await checkpoint(running, join(dir, "nowhere/x.tar"));
    expect([code, message.slice(0, 30)]).toEqual(["InvalidArgument", "location: no file can be made "]);
    expect(
      await refusal(daemon.api.checkpointContainer({ containerId: running, location, timeout: -1n })),
    ).toEqual(["InvalidArgument", "timeout: must not be negative, but is -1"]);
    const terminal = await runContainer(daemon, sandbox, { name: "terminal", tty: true, stdin: true });
    expect((await checkpoint(terminal))[0]).toBe("Unimplemented");
    expect(existsSync(location)).toBe(false);
    expect(readdirSync(join(daemon.root, "lib/checkpoints"))).toEqual([]);
  });

  test("gives up at its timeout or with its caller: the container goes on, and nothing is left", async () => {
    const { daemon } = fixture;
    const id = await counter("slow");
    // Reading it takes longer than the calls below wait.
    await shellIn(daemon, id, "dd if=/dev/zero of=/large bs=1M count=1500 2>/dev/null");
    const location = join(dir, "slow.tar");
    const call = daemon.api.checkpointContainer({ containerId: id, location, timeout: 1n });
    const [code] = await refusal(call);
    expect(code).toBe("DeadlineExceeded");
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 300);
    const left = daemon.api.checkpointContainer({ containerId: id, location }, { signal: leaving.signal });
    expect((await refusal(left))[0]).toBe("Canceled");
    await eventually(
      "its files are gone",
      () => readdirSync(join(daemon.root, "lib/checkpoints")).length === 0,
    );
    expect(existsSync(location)).toBe(false);
    await goesOn(id);
    await daemon.api.stopContainer({ containerId: id, timeout: 0n });
    await daemon.api.removeContainer({ containerId: id });
  });

  test("a daemon that is killed meanwhile leaves nothing, and the container goes on", async () => {
    const { daemon } = fixture;
    const id = await counter("killed");
    await shellIn(daemon, id, "dd if=/dev/zero of=/large bs=1M count=300 2>/dev/null");
    const pid = await containerPid(daemon, id);
    const location = join(dir, "killed.tar");
    for (const delayMs of [20, 60, 120, 250]) {
      daemon.api.checkpointContainer({ containerId: id, location }).catch(() => {});
      await Bun.sleep(delayMs);
      await daemon.kill();
      await daemon.start();
      expect(await containerPid(daemon, id)).toBe(pid);
      expect(readdirSync(join(daemon.root, "lib/checkpoints"))).toEqual([]);
      await goesOn(id);
    }
    await daemon.api.checkpointContainer({ containerId: id, location });
    await daemon.api.stopContainer({ containerId: id, timeout: 0n });
    await daemon.api.removeContainer({ containerId: id });
  });
});

// crictl is written in Go, so it is there only where Go could build it.
test.skipIf(!hasCrictl || criu === undefined)("crictl checkpoint", async () => {
  const id = await counter("crictl");
  const location = join(dir, "crictl.tar");
  await fixture.daemon.crictl("checkpoint", `--export=${location}`, id);
  expect(tar("-tf", location)).toContain("checkpoint/pstree.img");
});
