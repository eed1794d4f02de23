// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";

const MAIN = join(import.meta.dir, "../main.ts");
const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** The program with what a build puts into it, as scripts/build-binary.sh does. */
function built(build: object, ...words: readonly string[]) {
  const define = ["--define", `PODRT_BUILD=${JSON.stringify(build)}`];
  const command = ["run", ...define, MAIN, "version", "--socket", "/tmp/none.sock", ...words];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

test("run from its sources it has neither commit nor date, and says what it runs on", async () => {
  const { out } = await runCommand("/tmp/none.sock", ["version", "-o", "json"]);
  expect(JSON.parse(out)).toEqual({
    version: manifest.version,
    commit: null,
    build: {
      date: null,
      bun: Bun.version,
      os: "linux",
      architecture: expect.stringMatching(/^(amd|arm)64$/),
    },
    daemon: null,
  });
});

test("the daemon's version stands beside", async () => {
  await using daemon = await startFakeDaemon({
    runtime: { version: () => ({ runtimeVersion: "9.9.9", runtimeApiVersion: "v1" }) },
  });
  const { out } = await runCommand(daemon.socketPath, ["version", "-o", "json"]);
  expect(JSON.parse(out).daemon).toEqual({ version: "9.9.9", api: "v1" });
  expect((await runCommand(daemon.socketPath, ["version"])).out).toContain("daemon 9.9.9 (CRI v1)\n");
});

test("a build tells its commit and the commit's date", () => {
  expect(JSON.parse(built({ commit: COMMIT, time: 1_800_000_000 }, "-o", "json"))).toMatchObject({
    commit: COMMIT,
    build: { date: "2027-01-15T08:00:00Z", bun: Bun.version, os: "linux" },
  });
  expect(built({ commit: COMMIT, time: 1_800_000_000 })).toContain(
    `\nbuilt from 0123456789ab of 2027-01-15 with Bun ${Bun.version} for linux/`,
  );
  expect(built({ commit: `${COMMIT}-dirty`, time: null })).toContain(
    "\nbuilt from 0123456789ab with changes with Bun",
  );
  expect(built({ commit: null, time: null })).not.toContain("built from");
});
