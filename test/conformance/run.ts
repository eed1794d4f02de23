// SPDX-License-Identifier: Apache-2.0

/**
 * Runs critest, the validation suite of the CRI, against the compiled podrt, and ends with one line: `N passed, N
 * failed, N skipped`. A case that does what known-failures.ts says counts as skipped.
 *
 * environment: FOCUS a regular expression, PARALLEL a number of processes, WEBSOCKET=1, REPEAT a number of runs
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { prepareImages, startImageRegistry, suiteImages } from "../fixtures/images/prepare.ts";
import { type Daemon, startDaemon } from "../integration/harness/daemon.ts";
import { knownFailures, type Machine } from "./known-failures.ts";
import { removeSharedMemory, sharedMemoryIds } from "./shared-memory.ts";
import { criTest, logFile, prepareSuite, runSuite, type SuiteOptions } from "./suite.ts";
import { takeTurn } from "./turn.ts";
import { judge, type Verdict } from "./verdict.ts";

if (process.getuid?.() !== 0) {
  console.error("make conformance: needs root, as every container runtime does");
  process.exit(1);
}
// The build has said why.
if (!existsSync(criTest)) {
  console.log("0 passed, 0 failed, 0 skipped");
  process.exit(0);
}
process.exit(
  await main().catch((error: unknown) => {
    console.error(`make conformance: ${error instanceof Error ? error.message : error}`);
    return 1;
  }),
);

async function main(): Promise<number> {
  const { layoutDir } = await prepareImages(suiteImages);
  prepareSuite(imageDigest(layoutDir, "k8s-staging-cri-tools/test-image-digest:latest"));
  using _turn = await takeTurn();
  const segments = sharedMemoryIds();
  await using registry = await startImageRegistry(suiteImages);
  const daemon = await startDaemon({ mirror: registry.host });
  process.once("SIGINT", () => void daemon.close().finally(() => process.exit(130)));
  const verdicts: Verdict[] = [];
  const problems: string[] = [];
  try {
    const repeat = Number(process.env["REPEAT"] ?? "1");
    for (let round = 1; round <= repeat; round += 1) {
      if (repeat > 1) console.log(`run ${round} of ${repeat}`);
      const verdict = judge(await runSuite(options(daemon)), knownFailures, machine());
      verdicts.push(verdict);
      show(verdict);
      problems.push(...(await leftBySuite(daemon)));
    }
  } finally {
    removeSharedMemory(segments);
    await daemon.close().catch((error: Error) => problems.push(error.message));
  }
  for (const problem of problems) console.log(problem);
  const total = (key: keyof Verdict) => verdicts.reduce((sum, verdict) => sum + verdict[key].length, 0);
  const failed = total("unexpected") + problems.length;
  console.log(`${total("passed")} passed, ${failed} failed, ${total("known")} skipped`);
  return failed === 0 && total("passed") > 0 ? 0 : 1;
}

function options(daemon: Daemon): SuiteOptions {
  const { FOCUS, PARALLEL = "1", WEBSOCKET } = process.env;
  return {
    socket: daemon.socket,
    focus: FOCUS,
    parallel: Number(PARALLEL),
    isWebSocket: WEBSOCKET === "1",
  };
}

function machine(): Machine {
  const enabled = "/sys/module/apparmor/parameters/enabled";
  return { hasAppArmor: existsSync(enabled) && readFileSync(enabled, "utf8").startsWith("Y") };
}

function imageDigest(layoutDir: string, name: string): string {
  const index = JSON.parse(readFileSync(join(layoutDir, "index.json"), "utf8")) as {
    manifests: { digest: string; annotations: Record<string, string> }[];
  };
  return index.manifests.find(({ annotations }) => annotations["org.opencontainers.image.ref.name"] === name)!
    .digest;
}

function show({ passed, known, unexpected }: Verdict): void {
  const reasons = Map.groupBy(known, ({ reason }) => reason);
  for (const [reason, cases] of reasons) {
    console.log(`${cases.length} ${cases[0]!.result.outcome} as expected: ${reason}`);
  }
  for (const { result, problem } of unexpected) {
    console.log(`✗ ${result.name}`);
    for (const line of essence(problem)) console.log(`    ${line}`);
  }
  const slow = [...passed].sort((a, b) => b.durationMs - a.durationMs).slice(0, 3);
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  console.log(`slowest: ${slow.map(({ name, durationMs }) => `${seconds(durationMs)} ${name}`).join("; ")}`);
  console.log(`${passed.length} as they must be, ${unexpected.length} not; the suite's output is ${logFile}`);
}

/** The first lines, and the runtime's own error where the suite shows it field by field. */
function essence(problem: string): string[] {
  const lines = problem.trim().split("\n");
  const told = lines.slice(0, 3).filter((line) => !/Unexpected error:|^\s*<\*/.test(line));
  const cause = lines.find((line) => line.includes("rpc error:"))?.trim();
  return cause === undefined || told.some((line) => line.includes(cause)) ? told : [...told, cause];
}

/** The suite removes its pods even after a case that failed; one that is still there could not be removed. */
async function leftBySuite(daemon: Daemon): Promise<string[]> {
  const { items } = await daemon.api.listPodSandbox({});
  const { containers } = await daemon.api.listContainers({});
  return [
    ...items.map(({ id, metadata }) => `left by the suite: sandbox ${id.slice(0, 13)} ${metadata?.name}`),
    ...containers.map(
      ({ id, metadata }) => `left by the suite: container ${id.slice(0, 13)} ${metadata?.name}`,
    ),
  ];
}
