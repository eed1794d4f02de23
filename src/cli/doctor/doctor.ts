// SPDX-License-Identifier: Apache-2.0
import { type Config, loadConfig } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import type { Paths } from "../../paths.ts";
import { type Daemon, isAbsent, openDaemon, promptly } from "../client.ts";
import { isDocument } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { formatTable, painter, wrapLast } from "../table.ts";
import { UsageError } from "../usage-error.ts";
import type { Finding } from "./finding.ts";
import { checkMachine } from "./machine.ts";
import { checkOrphans } from "./orphans.ts";
import { checkOwn } from "./own.ts";

interface Options {
  readonly config?: string;
  readonly fix?: boolean;
}

/**
 * Looks at the machine and at podrt's own; with `fix` it removes what podrt has made and no record owns. Exits with 1
 * when something fails that is needed.
 */
export async function doctor(
  { io, paths, socketPath, output }: Context,
  { config: file, fix = false }: Options,
): Promise<number> {
  if (paths === undefined)
    throw new UsageError(
      "--socket alone does not say which instance's files to look at; use --root, or neither",
    );
  const findings = await look(paths, socketPath, file);
  const mended = fix ? await mend(findings) : [];
  // What is told is how things are now.
  const last = mended.length === 0 ? findings : await look(paths, socketPath, file);
  if (isDocument(output)) {
    const shown = last.map(({ fix: found, ...finding }) => ({
      ...finding,
      ...(found === undefined ? {} : { fix: found.what }),
    }));
    await printDocument({ io, output }, { findings: shown, mended });
  } else await io.out(words(last, mended, painter(io), io.outScreen?.size()?.width));
  const isAmiss =
    last.some(({ verdict }) => verdict === "failure") || mended.some(({ problem }) => problem !== undefined);
  return isAmiss ? 1 : 0;
}

async function look(paths: Paths, socketPath: string, file: string | undefined): Promise<Finding[]> {
  let config: Config;
  try {
    config = loadConfig(paths, file ?? paths.configFile);
  } catch (error) {
    const advice = "mend the configuration; nothing else is looked at before";
    return [{ area: "podrt", check: "configuration", verdict: "failure", text: messageOf(error), advice }];
  }
  using daemon = openDaemon(socketPath);
  const running = (await answers(daemon)) ? daemon : undefined;
  const [machine, own, orphans] = await Promise.all([
    checkMachine(paths, config, running !== undefined),
    checkOwn(paths, running),
    checkOrphans(paths, config),
  ]);
  return [...machine, ...own, ...orphans];
}

async function answers(daemon: Daemon): Promise<boolean> {
  try {
    await daemon.runtime.version({}, promptly());
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

interface Mended {
  readonly what: string;
  readonly problem?: string;
}

async function mend(findings: readonly Finding[]): Promise<Mended[]> {
  const mended: Mended[] = [];
  for (const { fix } of findings) {
    if (fix === undefined) continue;
    try {
      await fix.run();
      mended.push({ what: fix.what });
    } catch (error) {
      mended.push({ what: fix.what, problem: messageOf(error) });
    }
  }
  return mended;
}

/** What to do begins with it, and has commands. */
const ADVICE = "→ ";
const COLORS = { ok: "green", warning: "yellow", failure: "red" } as const;

function words(
  findings: readonly Finding[],
  mended: readonly Mended[],
  paint: ReturnType<typeof painter>,
  width: number | undefined,
): string {
  const rows = findings.flatMap(({ area, check, verdict, text, advice }) => [
    [paint(verdict, COLORS[verdict]), `${area}: ${check}`, text],
    ...(advice === undefined ? [] : [["", "", `${ADVICE}${advice}`]]),
  ]);
  const headings = ["VERDICT", "CHECK", "FOUND"];
  const lines = mended.map(({ what, problem }) =>
    problem === undefined ? `mended: ${what}\n` : `${paint("not mended", "red")}: ${what}: ${problem}\n`,
  );
  const count = (verdict: Finding["verdict"]) =>
    findings.filter((finding) => finding.verdict === verdict).length;
  const sum = `${count("ok")} well, ${count("warning")} warnings, ${count("failure")} failures\n`;
  return `${lines.join("")}${formatTable(
    headings,
    wrapLast(width, headings, rows, (text) => text.startsWith(ADVICE)),
  )}${sum}`;
}
