// SPDX-License-Identifier: Apache-2.0
import { connect } from "node:net";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

const BASE_URL = "http://localhost";

/** Dispose it, or its connection keeps the process alive. */
export interface StreamTransport extends Transport, Disposable {}

/** Calls with streams over the unix socket at `socketPath`, as gRPC over one HTTP/2 connection. */
export function streamTransport(socketPath: string, interceptors: Interceptor[]): StreamTransport {
  // Node's type wants a TLS socket; http2 over a unix socket needs any duplex.
  const createConnection = () => connect(socketPath);
  const sessionManager = new Http2SessionManager(BASE_URL, {}, { createConnection } as never);
  const transport = createGrpcTransport({ baseUrl: BASE_URL, sessionManager, interceptors });
  return { ...transport, [Symbol.dispose]: () => sessionManager.abort() };
}
