// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { endOf, spawnWithEngine } from "../launch/engine.ts";
import { becomeHostProgram, leadHostSession } from "../launch/host-program.ts";
import { newProgram } from "../launch/program.ts";
import { sleep } from "../lib/deadline.ts";
import { O_RDWR } from "../linux/abi/fcntl.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { connectedSocket } from "../linux/connected-socket.ts";
import { Fd, open } from "../linux/fd.ts";
import { identifyChild, waitGone } from "../linux/process.ts";
import { trySyscall } from "../linux/syscall.ts";
import { unixStreamPair } from "../linux/unix-socket.ts";
import type { InstalledPlugin } from "./installed.ts";
import { ProgramOutput } from "./output.ts";

/** Where the program finds its end of the connection; the variable says so too. */
const SOCKET_FD = 3;
/** A plugin ends when its connection does; how long that may take. */
const END_GRACE_MS = 2000;
const DRAIN_TIMEOUT_MS = 200;

/** A plugin that podrt has started. */
export interface LaunchedPlugin {
  /** podrt's end of the connection. */
  readonly socket: Socket;
  /** To be called when the connection has ended: resolves when the program has too, killed where it takes too long. */
  end(): Promise<void>;
}

/**
 * Starts a plugin: a child of the daemon's, to end with it, with one end of a connection and three variables by which it
 * knows that and its name. `log` hears the lines that it says. A LaunchError says why it cannot be executed.
 */
export function launchPlugin(
  { index, name, path }: InstalledPlugin,
  log: (line: string) => void,
): LaunchedPlugin {
  const [own, its] = unixStreamPair();
  using ownEnd = own;
  using itsEnd = its;
  using passed = itsEnd.duplicate(SOCKET_FD + 1);
  const [heard, said] = unixStreamPair();
  using heardEnd = heard;
  using saidEnd = said;
  using nothing = open("/dev/null", O_RDWR);
  const child = newProgram("NRI plugin");
  leadHostSession(child);
  becomeHostProgram(
    child,
    [nothing, saidEnd, saidEnd, passed],
    [path],
    [`NRI_PLUGIN_NAME=${name}`, `NRI_PLUGIN_IDX=${index}`, `NRI_PLUGIN_SOCKET=${SOCKET_FD}`],
  );
  const process = identifyChild(spawnWithEngine(child));
  const listener = listen(connectedSocket(new Fd(heardEnd.release())), log);
  let ended: Promise<void> | undefined;
  const end = async () => {
    // Until it has been waited for, the number is its own; what it has started is of its group.
    if (!(await waitGone(process, END_GRACE_MS))) trySyscall("kill", -process.pid, SIGNAL.SIGKILL);
    await endOf(process);
    await listener.close();
  };
  return {
    socket: connectedSocket(new Fd(ownEnd.release())),
    end() {
      ended ??= end();
      return ended;
    },
  };
}

function listen(socket: Socket, log: (line: string) => void): { close(): Promise<void> } {
  const output = new ProgramOutput(log);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("data", (chunk: Uint8Array) => output.take(chunk));
  // It is the plugin's to write, and nothing that concerns its connection.
  socket.on("error", () => {});
  void closed.then(() => output.end());
  return {
    async close() {
      // Its last words are on their way; longer means that a child of it holds the socket.
      await Promise.race([closed, sleep(DRAIN_TIMEOUT_MS)]);
      socket.destroy();
    },
  };
}
