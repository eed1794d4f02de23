// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { Fd } from "../linux/fd.ts";
import { listeningPath } from "../linux/listening-socket.ts";
import { sendDatagram } from "../linux/unix-socket.ts";

/*
 * What systemd and those that do as it does agree on with a service: sd_notify(3), sd_watchdog_enabled(3) and
 * sd_listen_fds(3). Without their variables nothing is done.
 */

/** SD_LISTEN_FDS_START of sd-daemon.h. */
const FIRST_PASSED_FD = 3;
const VARIABLES = [
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
];

export interface ServiceManager {
  /** The listening socket that was passed; the caller's from then on. */
  readonly socket: Fd | undefined;
  /** Says that clients are answered, and from then on, as often as asked, that the event loop goes round. */
  ready(status: string): void;
  stopping(): void;
}

/**
 * Reads what the service manager has put into `env`, and takes it out, since it is not for children. The socket that
 * was passed has to be the one at `socketPath`: InvalidArgumentError says what is wrong with it.
 */
export function connectServiceManager(
  env: Record<string, string | undefined>,
  socketPath: string,
): ServiceManager {
  const socket = passedSocket(env, socketPath);
  const address = env["NOTIFY_SOCKET"];
  const intervalMs = watchdogIntervalMs(env);
  for (const name of VARIABLES) delete env[name];
  let watchdog: ReturnType<typeof setInterval> | undefined;
  const notify = (state: string) => {
    if (address === undefined || address === "") return;
    try {
      sendDatagram(address, Buffer.from(state));
    } catch (err) {
      logger.warn({ err, state }, "the service manager could not be told");
    }
  };
  return {
    socket,
    ready(status) {
      notify(`READY=1\nSTATUS=${status}\n`);
      if (intervalMs !== undefined) watchdog = setInterval(() => notify("WATCHDOG=1\n"), intervalMs);
    },
    stopping() {
      clearInterval(watchdog);
      notify("STOPPING=1\nSTATUS=stopping; the pods go on\n");
    },
  };
}

/** Half of what the service manager waits for, as sd_watchdog_enabled(3) recommends. */
function watchdogIntervalMs(env: Readonly<Record<string, string | undefined>>): number | undefined {
  const microseconds = Number(env["WATCHDOG_USEC"] ?? 0);
  const isOurs = (env["WATCHDOG_PID"] ?? String(process.pid)) === String(process.pid);
  return microseconds > 0 && isOurs ? Math.max(1, microseconds / 2000) : undefined;
}

function passedSocket(env: Readonly<Record<string, string | undefined>>, socketPath: string): Fd | undefined {
  const count = Number(env["LISTEN_FDS"] ?? 0);
  if (env["LISTEN_PID"] !== String(process.pid) || count === 0) return undefined;
  if (count !== 1) {
    throw new InvalidArgumentError("LISTEN_FDS", `${count} sockets were passed, and podrt serves one`);
  }
  const path = listeningPath(FIRST_PASSED_FD);
  if (path !== socketPath) {
    const what = path === undefined ? "no listening unix stream socket" : `the socket at ${path}`;
    throw new InvalidArgumentError(
      "LISTEN_FDS",
      `what was passed is ${what}; this instance is at ${socketPath}: set ListenStream=${socketPath} in the socket unit`,
    );
  }
  return new Fd(FIRST_PASSED_FD);
}
