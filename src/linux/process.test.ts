// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { SIGNAL } from "./abi/signal.ts";
import {
  bootId,
  identify,
  isAlive,
  killAll,
  openPidfd,
  type ProcessIdentity,
  pin,
  signal,
  waitGone,
} from "./process.ts";
import { isErrno } from "./syscall.ts";

function startSleeper() {
  const child = Bun.spawn(["sleep", "60"]);
  const identity = identify(child.pid);
  if (identity === undefined) throw new Error("the sleeper has no identity");
  return { child, identity };
}

async function startZombie(): Promise<{ parent: Bun.Subprocess; zombie: ProcessIdentity }> {
  const script = "sleep 60 & echo $!; exec sleep 60";
  const parent = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
  const reader = parent.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  const zombie = identify(pid) as ProcessIdentity;
  // The parent must have become `sleep`, which never waits, before its child dies.
  while (!readFileSync(`/proc/${parent.pid}/cmdline`, "utf8").startsWith("sleep")) await Bun.sleep(1);
  signal(zombie, SIGNAL.SIGKILL);
  return { parent, zombie };
}

test("a running process is alive under its identity and under no other start time", async () => {
  const { child, identity } = startSleeper();
  expect(identity.startTicks).toMatch(/^[0-9]+$/);
  expect(isAlive(identity)).toBe(true);
  expect(isAlive({ ...identity, startTicks: "1" })).toBe(false);
  child.kill("SIGKILL");
  await child.exited;
  expect(isAlive(identity)).toBe(false);
  expect(identify(identity.pid)).toBeUndefined();
});

test("a process whose name holds spaces and parentheses is identified", async () => {
  const child = Bun.spawn(["sh", "-c", "printf 'a) Z 1 (b' > /proc/self/comm; exec 3<&0; read x <&3"], {
    stdin: "pipe",
  });
  while (!readFileSync(`/proc/${child.pid}/stat`, "utf8").includes("(b)")) await Bun.sleep(1);
  const identity = identify(child.pid) as ProcessIdentity;
  expect(isAlive(identity)).toBe(true);
  expect(Number(identity.startTicks)).toBeGreaterThan(100);
  child.stdin.end();
  await child.exited;
});

test("a signal reaches the process and never one that took its number", async () => {
  const { child, identity } = startSleeper();
  expect(signal({ ...identity, startTicks: "1" }, SIGNAL.SIGKILL)).toBe(false);
  expect(isAlive(identity)).toBe(true);
  expect(signal(identity, SIGNAL.SIGTERM)).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe("SIGTERM");
  expect(signal(identity, SIGNAL.SIGTERM)).toBe(false);
});

test("an impossible signal number is an error, not a missing process", async () => {
  const { child, identity } = startSleeper();
  expect(() => signal(identity, 1000)).toThrow(`pidfd_send_signal process ${identity.pid}: EINVAL`);
  killAll([identity, { pid: 0x3fffff, startTicks: "1" }]);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
});

test("a zombie has an identity but is neither alive nor waited for", async () => {
  const { parent, zombie } = await startZombie();
  expect(await waitGone(zombie, 5_000)).toBe(true);
  expect(existsSync(`/proc/${zombie.pid}`)).toBe(true);
  expect(identify(zombie.pid)).toEqual(zombie);
  expect(isAlive(zombie)).toBe(false);
  expect(signal(zombie, SIGNAL.SIGTERM)).toBe(false);
  parent.kill("SIGKILL");
  await parent.exited;
});

test("waiting ends with the process, and with the timeout when the process stays", async () => {
  const { child, identity } = startSleeper();
  const before = performance.now();
  expect(await waitGone(identity, 30)).toBe(false);
  expect(performance.now() - before).toBeLessThan(1_000);
  const gone = waitGone(identity, 5_000);
  killAll([identity]);
  expect(await gone).toBe(true);
  await child.exited;
  expect(await waitGone(identity, 0)).toBe(true);
});

test("a hint that comes too early lets others go on while the process is waited for", async () => {
  const { child, identity } = startSleeper();
  let hasGoneOn = false;
  setTimeout(() => {
    hasGoneOn = true;
  }, 1);
  expect(await waitGone(identity, 100, Promise.resolve())).toBe(false);
  expect(hasGoneOn).toBe(true);
  killAll([identity]);
  await child.exited;
});

test("a number that a thread has taken over is nobody's", () => {
  const thread = readdirSync("/proc/self/task")
    .map(Number)
    .find((id) => id !== process.pid);
  const identity = { ...(identify(process.pid) as ProcessIdentity), pid: thread as number };
  expect(pin(identity)).toBeUndefined();
  expect(signal(identity, 0)).toBe(false);
});

test("a pidfd is refused for a number without a process", () => {
  let caught: unknown;
  try {
    openPidfd(0x3fffff);
  } catch (error) {
    caught = error;
  }
  expect(isErrno(caught, "ESRCH")).toBe(true);
  using self = openPidfd(process.pid);
  expect(self.isOpen).toBe(true);
});

test("the boot has a UUID", () => {
  expect(bootId()).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});
