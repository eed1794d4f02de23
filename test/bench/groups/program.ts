// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectApi } from "../../integration/harness/api.ts";
import { outputOf } from "../../integration/harness/command.ts";
import { binary } from "../../integration/harness/daemon.ts";
import { eventually } from "../../integration/harness/eventually.ts";
import type { Group, Row } from "../row.ts";

const ms = { unit: "ms", better: "less" } as const;
const rows = {
  serve: { title: "start of the binary to serving", ...ms, target: { atMost: 150 } },
  help: { title: "podrt --help", ...ms, target: { atMost: 30 } },
} as const satisfies Record<string, Row>;

const maxRounds = 20;

/** The program itself, with nothing to do. */
export const program: Group = {
  name: "program",
  rows: Object.values(rows),
  async measure({ samples, rounds }) {
    for (let round = -1; round < Math.min(maxRounds, rounds); round += 1) {
      const [serveMs, helpMs] = [await timeServe(), await timeHelp()];
      if (round < 0) continue;
      samples.add(rows.serve.title, "podrt", serveMs);
      samples.add(rows.help.title, "podrt", helpMs);
    }
  },
};

/** In an empty directory, until Version is answered. */
async function timeServe(): Promise<number> {
  const root = mkdtempSync(join(tmpdir(), "prt-"));
  writeFileSync(join(root, "config.toml"), '[network]\nsubnet = "10.126.64.0/20"\n');
  const api = connectApi(join(root, "run/podrt.sock"));
  const startMs = performance.now();
  const child = Bun.spawn([binary, "serve", "--root", root], {
    stdio: ["ignore", "ignore", "ignore"],
    cwd: "/",
  });
  try {
    await eventually(
      "podrt serve answers",
      async () => (await api.version({})).runtimeName !== "",
      20_000,
      1,
    );
    return performance.now() - startMs;
  } finally {
    child.kill("SIGTERM");
    await child.exited;
    rmSync(root, { recursive: true, force: true });
  }
}

async function timeHelp(): Promise<number> {
  const startMs = performance.now();
  await outputOf(binary, ["--help"]);
  return performance.now() - startMs;
}
