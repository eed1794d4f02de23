// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../../package.json";
import { BINUTILS, generatedFile, isInstalled } from "../../scripts/binutils.ts";
import { MACHINE_CODE, PAUSE_ELF } from "../../src/linux/machine-code.ts";

const ROOT = join(import.meta.dir, "../..");
const WARNING = "pause: warning: not PID 1, so orphans of a pod are not handed to this process\n";
const DEADLINE_MS = 5000;
const SIGCHLD_BIT = 1n << 16n;

let directory = "";
let binary = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-pause-"));
  binary = join(directory, "pause");
  writeFileSync(binary, PAUSE_ELF, { mode: 0o755 });
});

afterAll(() => rmSync(directory, { recursive: true }));

/** Polls until `condition` holds. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`gave up waiting: ${what}`);
    await Bun.sleep(2);
  }
}

function field(pid: number, name: string): string {
  return new RegExp(`^${name}:\\s+(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
}

function childrenOf(pid: number): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return list === "" ? [] : list.split(" ").map(Number);
}

/** True once it waits for signals: all are blocked but the three that rt_sigtimedwait takes. */
function isReady(pid: number): boolean {
  return field(pid, "State").startsWith("S") && field(pid, "SigBlk") === "fffffffffffabefd";
}

function startPause(command = [binary]) {
  return Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
}

/** pause as PID 1 of a PID namespace; `before` runs there in the shell that then becomes pause. */
async function startInNamespace(before = "") {
  const shell = ["sh", "-c", `${before}\nexec "$0"`, binary];
  const parent = Bun.spawn(["unshare", "--pid", "--fork", "--kill-child", ...shell], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  await until("pause starts in its namespace", () => {
    const [pid] = childrenOf(parent.pid);
    return pid !== undefined && isReady(pid);
  });
  const pid = childrenOf(parent.pid)[0]!;
  return { parent, pid, [Symbol.dispose]: () => parent.kill("SIGKILL") };
}

/** Runs a shell script in the PID namespace of `pid`, as a process that is not a child of it. */
function runBeside(pid: number, script: string) {
  return spawnSync("nsenter", ["-t", String(pid), "-p", "sh", "-c", script], { encoding: "utf8" });
}

test("the committed machine code is what the assembly sources give", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts/assemble.ts"), directory], {
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  for (const binutils of BINUTILS) {
    if (!isInstalled(binutils)) {
      console.log(`the code for ${binutils.name} is not compared: ${binutils.debianPackage} is missing`);
      continue;
    }
    const name = generatedFile(binutils);
    const committed = readFileSync(join(ROOT, "src/gen", name), "utf8");
    expect(readFileSync(join(directory, name), "utf8")).toBe(committed);
  }
});

test("pause fits in a kilobyte and the monitor in four", () => {
  expect(statSync(binary).size).toBe(PAUSE_ELF.length);
  for (const { PAUSE_ELF, MONITOR_ELF } of Object.values(MACHINE_CODE)) {
    expect(PAUSE_ELF.length).toBeLessThanOrEqual(1024);
    expect(MONITOR_ELF.length).toBeLessThanOrEqual(4096);
  }
});

test("pause/README.md states the real sizes", () => {
  const readme = readFileSync(join(ROOT, "pause/README.md"), "utf8");
  const sizes = Object.entries(MACHINE_CODE).flatMap(
    ([architecture, { PAUSE_ELF, MONITOR_ELF, ENGINE_CODE }]) =>
      [
        [`pause.${architecture}`, PAUSE_ELF],
        [`monitor.${architecture}`, MONITOR_ELF],
        [`engine.${architecture}`, ENGINE_CODE],
      ] as const,
  );
  expect(sizes).toHaveLength(6);
  for (const [source, code] of sizes) {
    const stated = new RegExp(`^\\| \`${source}\\.S\` \\|.*\\| ([\\d,]+) \\|[^|]*\\|$`, "m").exec(
      readme,
    )?.[1];
    expect(stated).toBe(code.length.toLocaleString("en"));
  }
});

test("-v prints the version of podrt; any other argument gets the usage and exit code 2", () => {
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(binary, args, { encoding: "utf8" });
    return { status, stdout, stderr };
  };
  expect(run("-v")).toEqual({ status: 0, stdout: `podrt pause ${version}\n`, stderr: "" });
  for (const args of [["-x"], ["-vv"], [""], ["-v", "-v"], ["version"]]) {
    expect(run(...args)).toEqual({ status: 2, stdout: "", stderr: "usage: pause [-v]\n" });
  }
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`without being PID 1 it warns once, goes on, and ends with 0 on ${signal}`, async () => {
    const child = startPause();
    await until("pause sleeps", () => isReady(child.pid));
    child.kill(signal);
    expect(await child.exited).toBe(0);
    expect(child.signalCode).toBeNull();
    expect(await new Response(child.stderr).text()).toBe(WARNING);
  });

  test(`as PID 1 it says nothing and ends with 0 on ${signal}`, async () => {
    using pause = await startInNamespace();
    process.kill(pause.pid, signal);
    expect(await pause.parent.exited).toBe(0);
    expect(await new Response(pause.parent.stderr).text()).toBe("");
  });
}

test("a standard error that is closed does not stop it", async () => {
  const child = startPause(["sh", "-c", 'exec "$0" 2>&-', binary]);
  await until("pause sleeps", () => isReady(child.pid));
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("every other signal that can be blocked leaves it running, PID 1 or not", async () => {
  const outside = startPause();
  await until("pause sleeps", () => isReady(outside.pid));
  using inside = await startInNamespace();
  const [SIGINT, SIGKILL, SIGTERM, SIGSTOP] = [2, 9, 15, 19];
  for (const pid of [outside.pid, inside.pid]) {
    for (let signal = 1; signal <= 64; signal++) {
      if ([SIGINT, SIGKILL, SIGTERM, SIGSTOP, 32, 33].includes(signal)) continue;
      process.kill(pid, signal);
    }
  }
  expect(runBeside(inside.pid, "kill -HUP 1; kill -KILL 1; kill -STOP 1").status).toBe(0);
  await Bun.sleep(50);
  expect([outside.exitCode, inside.parent.exitCode]).toEqual([null, null]);
  expect(isReady(inside.pid)).toBe(true);
  outside.kill("SIGTERM");
  expect(await outside.exited).toBe(0);
});

test("after SIGSTOP and SIGCONT it goes on as before", async () => {
  const child = startPause();
  await until("pause sleeps", () => isReady(child.pid));
  child.kill("SIGSTOP");
  await until("pause is stopped", () => field(child.pid, "State").startsWith("T"));
  child.kill("SIGCONT");
  await until("pause sleeps again", () => isReady(child.pid));
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("2,000 orphans handed to it leave no zombie", async () => {
  using pause = await startInNamespace();
  const script = "i=0; while [ $i -lt 2000 ]; do (sleep 0 &) ; i=$((i+1)); done";
  expect(runBeside(pause.pid, script).status).toBe(0);
  await until("all orphans are reaped", () => childrenOf(pause.pid).length === 0);
}, 60_000);

test("children that ended before it was pause are reaped, also when SIGCHLD came in ignored", async () => {
  for (const before of ["true & true & true &", "trap '' CHLD; sleep 0.2 & true &"]) {
    using pause = await startInNamespace(`${before} sleep 0.05`);
    await until("all children are reaped", () => childrenOf(pause.pid).length === 0);
    expect(BigInt(`0x${field(pause.pid, "SigIgn")}`) & SIGCHLD_BIT).toBe(0n);
  }
});

test("it is called pause, needs three pages of memory and no processor time", async () => {
  using pause = await startInNamespace();
  expect(field(pause.pid, "Name")).toBe("pause");
  const rollup = readFileSync(`/proc/${pause.pid}/smaps_rollup`, "utf8");
  expect(Number(/^Rss:\s+(\d+) kB/m.exec(rollup)?.[1])).toBeLessThanOrEqual(16);
  expect(readFileSync(`/proc/${pause.pid}/maps`, "utf8")).not.toMatch(/ rwxp /);
  const runTime = () => readFileSync(`/proc/${pause.pid}/schedstat`, "utf8");
  const before = runTime();
  await Bun.sleep(300);
  expect(runTime()).toBe(before);
});

test("execPause replaces Bun by pause: name, arguments, descriptors, exit code", async () => {
  const script = join(directory, "exec-pause.ts");
  const module = JSON.stringify(join(ROOT, "src/cli/pause.ts"));
  writeFileSync(script, `import { execPause } from ${module};\nexecPause(process.argv.slice(2));\n`);
  const asked = spawnSync(process.execPath, [script, "-v"], { encoding: "utf8" });
  expect([asked.status, asked.stdout]).toEqual([0, `podrt pause ${version}\n`]);
  const child = startPause([process.execPath, script]);
  await until("pause sleeps", () => isReady(child.pid));
  expect(readFileSync(`/proc/${child.pid}/cmdline`, "utf8")).toBe("/pause\0");
  expect(readdirSync(`/proc/${child.pid}/fd`)).toEqual(["0", "1", "2"]);
  expect(readdirSync(`/proc/${child.pid}/task`)).toEqual([String(child.pid)]);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  expect(await new Response(child.stderr).text()).toBe(WARNING);
});
