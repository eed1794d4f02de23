// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";
import { patience } from "../support/patience.ts";
import { type CaseResult, readReport } from "./report.ts";

export interface SuiteOptions {
  /** Of the runtime that is tested. */
  readonly socket: string;
  /** Only cases whose full name matches. */
  readonly focus: string | undefined;
  /** How many processes run the cases; those that the suite calls serial run alone at the end. */
  readonly parallel: number;
  /** Exec, attach and port-forward over WebSocket instead of SPDY. */
  readonly isWebSocket: boolean;
}

/** Where the run keeps its program, its log and its report. */
export const conformanceDir = join(buildDir, "conformance");
export const logFile = join(conformanceDir, "critest.log");
export const criTest = join(buildDir, "bin/critest");
const ginkgo = join(buildDir, "bin/ginkgo");
const program = join(conformanceDir, "critest.test");
const scratchDir = join(conformanceDir, "tmp");
const reportFile = join(conformanceDir, "report.json");
const timeLimitMinutes = 40 * patience;

/** The digest of test-image-digest that the suite knows: a constant of pkg/validate/consts.go of cri-tools v1.36.0. */
const suiteDigest = "sha256:9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf";

/**
 * Copies critest, with the digest of the one image that it names by digest replaced by ours: nobody but the owner
 * of the original image could make one with the original's.
 */
export function prepareSuite(imageDigest: string): void {
  mkdirSync(conformanceDir, { recursive: true });
  const content = readFileSync(criTest);
  const at = content.indexOf(suiteDigest);
  if (at < 0 || content.indexOf(suiteDigest, at + 1) >= 0 || imageDigest.length !== suiteDigest.length) {
    throw new Error(`${criTest} must name ${suiteDigest} once: is it built from another version?`);
  }
  content.write(imageDigest, at, "latin1");
  rmSync(program, { force: true });
  writeFileSync(program, content, { mode: 0o755 });
}

/** Runs the suite once; its output is in the log file. Fails only when it leaves no report. */
export async function runSuite(options: SuiteOptions): Promise<CaseResult[]> {
  rmSync(reportFile, { force: true });
  // Host paths of volumes, container logs and profiles: what the suite forgets goes with the directory.
  rmSync(scratchDir, { recursive: true, force: true });
  mkdirSync(scratchDir, { recursive: true });
  const code = await runLogged(...commandOf(options));
  rmSync(scratchDir, { recursive: true, force: true });
  try {
    return readReport(reportFile);
  } catch (error) {
    throw new Error(`critest exited with ${code} and without a report, see ${logFile}: ${error}`);
  }
}

function commandOf({ socket, focus, parallel, isWebSocket }: SuiteOptions): [string, string[]] {
  const flags = [
    `-runtime-endpoint=unix://${socket}`,
    `-image-endpoint=unix://${socket}`,
    ...(isWebSocket ? ["-websocket-exec", "-websocket-attach", "-websocket-portforward"] : []),
  ];
  const runner = { "no-color": "true", timeout: `${timeLimitMinutes}m`, ...(focus ? { focus } : {}) };
  const runnerFlags = (prefix: string) =>
    Object.entries(runner).map(([name, value]) => `--${prefix}${name}=${value}`);
  if (parallel === 1) {
    return [program, [...runnerFlags("ginkgo."), `--ginkgo.json-report=${reportFile}`, ...flags]];
  }
  const output = ["--json-report=report.json", `--output-dir=${conformanceDir}`];
  return [ginkgo, [`--procs=${parallel}`, ...runnerFlags(""), ...output, program, "--", ...flags]];
}

/** The exit code; a run that outlives its own limit is ended. */
function runLogged(command: string, args: readonly string[]): Promise<number> {
  const log = openSync(logFile, "w");
  const child = spawn(command, args, {
    cwd: conformanceDir,
    stdio: ["ignore", log, log],
    env: { ...process.env, TMPDIR: scratchDir },
  });
  closeSync(log);
  const killAtExit = () => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const timer = setTimeout(killAtExit, (timeLimitMinutes + 1) * 60_000);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => {
      clearTimeout(timer);
      process.off("exit", killAtExit);
      resolve(code ?? 128);
    });
  });
}
