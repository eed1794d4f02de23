// SPDX-License-Identifier: Apache-2.0
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { UnavailableError } from "../errors.ts";
import { O_RDONLY } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { withNetworkNamespace } from "../linux/namespace.ts";
import { SyscallError } from "../linux/syscall.ts";
import { connectLoopback, type IpVersion, tcpSocket } from "../linux/tcp.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Connects to a port of a pod's loopback, with IPv4 and then IPv6, as its containers would. `netnsPath` is
 * the pin of the pod's network namespace, undefined for a pod in the host's. UnavailableError says why
 * neither worked.
 */
export async function connectToPod(netnsPath: string | undefined, port: number): Promise<Socket> {
  const failures: string[] = [];
  for (const version of [4, 6] as const) {
    try {
      return await connectWith(netnsPath, version, port);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      failures.push(error.message);
    }
  }
  throw new UnavailableError(`cannot connect to port ${port} of the pod: ${failures.join("; ")}`);
}

async function connectWith(netnsPath: string | undefined, version: IpVersion, port: number): Promise<Socket> {
  using socket = socketIn(netnsPath, version);
  await connectLoopback(socket, version, port, CONNECT_TIMEOUT_MS);
  // Bun takes over a connected descriptor that is given to it so; the types are those of Node, which cannot.
  const options = { fd: socket.release(), allowHalfOpen: true };
  return connect(options as unknown as NetConnectOpts);
}

function socketIn(netnsPath: string | undefined, version: IpVersion): Fd {
  if (netnsPath === undefined) return tcpSocket(version);
  using netns = open(netnsPath, O_RDONLY);
  return withNetworkNamespace(netns.number, () => tcpSocket(version));
}
