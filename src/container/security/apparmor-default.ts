// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { FailedPreconditionError, messageOf } from "../../errors.ts";
import { findExecutable } from "../../lib/executable.ts";
import { oneLine } from "../../lib/foreign-text.ts";
import type { Logger } from "../../lib/logger.ts";
import type { AppArmor } from "../../linux/apparmor.ts";

/** The profile of containers that name none. One of this name that is loaded already is left as it is. */
export const DEFAULT_PROFILE = "podrt-default";

const PARSER_DIRECTORIES = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
const PARSER_TIMEOUT_MS = 20_000;
const PARSER_OUTPUT_LIMIT = 4096;

/**
 * What programs in containers do is allowed, except to write to the parts of /proc and /sys that are the whole
 * machine's, to mount, and to signal or trace processes outside. Paths are spelled out: no file of the
 * distribution's is included, so that it loads wherever the parser is.
 */
const DEFAULT_PROFILE_TEXT = `
profile ${DEFAULT_PROFILE} flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (send, receive) peer=${DEFAULT_PROFILE},
  ptrace (trace, read, tracedby, readby) peer=${DEFAULT_PROFILE},

  deny mount,
  deny /proc/* w,
  deny /proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
`;

/**
 * The name of the default profile, loaded; undefined where AppArmor is off, or where the profile is not loaded and
 * cannot be, which is warned of. Loading is the one thing that takes a program of the host's: what the
 * kernel accepts is compiled by apparmor_parser, and that belongs to AppArmor.
 */
export async function loadDefaultProfile(
  apparmor: AppArmor,
  log: Logger,
  parser = findExecutable(PARSER_DIRECTORIES, "apparmor_parser"),
): Promise<string | undefined> {
  if (!apparmor.isEnabled) return undefined;
  if (apparmor.isLoaded(DEFAULT_PROFILE)) return DEFAULT_PROFILE;
  const consequence = "containers that ask for no profile of their own run unconfined by AppArmor";
  if (parser === undefined) {
    log.warn(
      `no AppArmor profile ${DEFAULT_PROFILE} is loaded and apparmor_parser is not installed: ${consequence}`,
    );
    return undefined;
  }
  try {
    await runParser(parser);
    if (!apparmor.isLoaded(DEFAULT_PROFILE))
      throw new FailedPreconditionError(`${parser} did not load ${DEFAULT_PROFILE}`);
    return DEFAULT_PROFILE;
  } catch (error) {
    log.warn(`cannot load the AppArmor profile ${DEFAULT_PROFILE}: ${messageOf(error)}: ${consequence}`);
    return undefined;
  }
}

/** Has apparmor_parser(8) load the profile from its stdin, past its cache of compiled profiles. */
function runParser(parser: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(parser, ["--replace", "--skip-cache"], {
      stdio: ["pipe", "ignore", "pipe"],
      timeout: PARSER_TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(0, PARSER_OUTPUT_LIMIT);
    });
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) return resolve();
      const end = signal === null ? `exited with ${code}` : `was ended by ${signal}`;
      reject(
        new FailedPreconditionError(
          `${parser} ${end}: ${oneLine(said, PARSER_OUTPUT_LIMIT) || "it said nothing"}`,
        ),
      );
    });
    // A parser that ends without reading says why on stderr.
    child.stdin.on("error", () => {});
    child.stdin.end(DEFAULT_PROFILE_TEXT);
  });
}
