// SPDX-License-Identifier: Apache-2.0
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { FailedPreconditionError, InvalidArgumentError, messageOf } from "../errors.ts";

/** sizeof(sun_path) less the final NUL (linux/un.h). */
const MAX_SOCKET_PATH_BYTES = 107;
const PROBE_TIMEOUT_MS = 1000;

/** For the sentence about a socket that is taken. */
export interface SocketOwner {
  /** What a process is that listens there: `podrt serve`. */
  readonly holder: string;
  /** What to do other than stopping it. */
  readonly remedy: string;
}

/**
 * Binds `server` to a unix socket that root alone can use: the directory is made with mode 0700 where it
 * is missing, the socket has 0600. A socket file that nobody answers on is replaced; one that somebody
 * answers on is a FailedPreconditionError naming the process.
 */
export async function listenExclusively(
  server: Server,
  path: string,
  { holder, remedy }: SocketOwner,
): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new InvalidArgumentError(
      "",
      `the socket path ${path} is longer than ${MAX_SOCKET_PATH_BYTES} bytes`,
    );
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  refuseOtherFile(path);
  if (await isAnswered(path)) {
    const pid = listeningPid(path);
    const who = pid === undefined ? "another process" : `another ${holder} (pid ${pid})`;
    throw new FailedPreconditionError(`the socket ${path} is in use by ${who}; stop that one, or ${remedy}`);
  }
  rmSync(path, { force: true });
  await listen(server, path);
}

/** Only a socket may be in the way; anything else at the path is somebody's data. */
function refuseOtherFile(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isSocket()) {
    throw new FailedPreconditionError(`cannot listen on ${path}: the file there is no socket; remove it`);
  }
}

async function listen(server: Server, path: string): Promise<void> {
  const listening = new Promise<void>((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", reject);
  });
  // The mask makes the socket private from its first instant; bind happens within listen.
  const mask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(mask);
  }
  try {
    await listening;
  } catch (error) {
    throw new FailedPreconditionError(`cannot listen on the socket ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  chmodSync(path, 0o600);
}

/** Whether a process accepts connections at `path`. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    // A listener too busy to accept within the timeout is a listener all the same.
    socket.setTimeout(PROBE_TIMEOUT_MS, () => settle(true));
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

/** The process that listens at `path`, found by the socket's inode; undefined when it cannot be seen. */
function listeningPid(path: string): number | undefined {
  const line = readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    // Columns: Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON (linux/net.h).
    .find((row) => row.endsWith(` ${path}`) && row.split(/\s+/)[3] === "00010000");
  const inode = line?.split(/\s+/)[6];
  if (inode === undefined) return undefined;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => holdsSocket(pid, inode));
}

function holdsSocket(pid: number, inode: string): boolean {
  try {
    const directory = `/proc/${pid}/fd`;
    return readdirSync(directory).some((fd) => readlinkSync(`${directory}/${fd}`) === `socket:[${inode}]`);
  } catch {
    // The process, or one of its descriptors, went away meanwhile.
    return false;
  }
}
