// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { UnavailableError } from "../errors.ts";
import { SyscallError } from "../linux/syscall.ts";
import { connectTcp } from "../linux/tcp.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Connects to a port of a pod's loopback, with IPv4 and then IPv6, as its containers would. `netnsPath` is
 * the pin of the pod's network namespace, undefined for a pod in the host's. UnavailableError says why
 * neither worked.
 */
export async function connectToPod(netnsPath: string | undefined, port: number): Promise<Socket> {
  const failures: string[] = [];
  for (const address of ["127.0.0.1", "::1"]) {
    try {
      return await connectTcp(netnsPath, address, port, CONNECT_TIMEOUT_MS);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      failures.push(error.message);
    }
  }
  throw new UnavailableError(`cannot connect to port ${port} of the pod: ${failures.join("; ")}`);
}
