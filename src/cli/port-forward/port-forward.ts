// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { PortForwardRequestSchema } from "../../gen/podrt/v1/podrt_pb.ts";
import type { ByteStream } from "../../streaming/byte-stream.ts";
import { streamOf } from "../../streaming/socket-stream.ts";
import { openDaemon, sentenceOf } from "../client.ts";
import { takeInventory } from "../inventory.ts";
import type { Context } from "../program.ts";
import { UsageError } from "../usage-error.ts";
import { parseForwardedPort } from "./forwarded-port.ts";
import { type LoopbackListener, listenOnLoopback } from "./loopback-listener.ts";
import { findTarget, type Target } from "./target.ts";

/** Leads ports of this machine's loopback to ports of a pod's, or of one that a Service leads to, until Ctrl-C. */
export async function portForward(
  { io, socketPath }: Context,
  name: string,
  words: readonly string[],
): Promise<number> {
  const asked = words.map(parseForwardedPort);
  requireDistinct(asked.map(({ local, remote }) => local ?? remote));
  let target = await lookUp(socketPath, name);
  const ports = asked.map(({ local, remote }) => {
    const port = target.port(remote);
    return { local: local ?? port.asked, remote, number: port.number };
  });
  requireDistinct(ports.map(({ local }) => local));
  using opened = new DisposableStack();
  const over = new AbortController();
  opened.defer(() => over.abort());
  const pod = {
    socketPath,
    target: () => target,
    async renew() {
      target = await lookUp(socketPath, name);
    },
    signal: over.signal,
  };
  const complain = (text: string) => void io.err(`podrt: ${text}\n`).catch(() => over.abort());
  for (const { local, remote, number } of ports) {
    const listener = await listenOnLoopback(local, (socket) => {
      carry({ ...pod, remote }, socket).catch((error: unknown) =>
        complain(`port ${remote}: ${sentenceOf(error)}`),
      );
    });
    opened.use(listener);
    const shown = remote === number ? `${number}` : `${remote} (${number})`;
    await io.out(announcement(listener, shown, target.title));
  }
  if (io.isTerminal) await io.err("Ctrl-C ends it.\n");
  await Promise.race([aborted(io.interrupted), aborted(over.signal)]);
  return 0;
}

/** Of ports of this machine; 0 and names stand for whatever they come to. */
function requireDistinct(locals: readonly (number | string)[]): void {
  const twice = locals.find(
    (local, index) => typeof local === "number" && local !== 0 && locals.indexOf(local) < index,
  );
  if (twice !== undefined) throw new UsageError(`local port ${twice} is named twice; each leads to one port`);
}

function announcement({ addresses }: LoopbackListener, remote: string, title: string): string {
  return `${addresses.join(" and ")} lead${addresses.length === 1 ? "s" : ""} to port ${remote} of ${title}\n`;
}

/** A pod that was made anew has another sandbox, and perhaps other ports. */
async function lookUp(socketPath: string, name: string): Promise<Target> {
  using daemon = openDaemon(socketPath);
  return findTarget(await takeInventory(daemon), name);
}

interface Connection {
  readonly socketPath: string;
  /** The pod as it was found last. */
  readonly target: () => Target;
  /** Looks for it anew. */
  readonly renew: () => Promise<void>;
  readonly remote: number | string;
  readonly signal: AbortSignal;
}

/** What says that the sandbox is no more, rather than that nothing listens in it. */
const GONE: ReadonlySet<Code> = new Set([Code.NotFound, Code.FailedPrecondition]);

/** Passes on one connection; what fails before it stands is tried once more with the pod's newest sandbox. */
async function carry(connection: Connection, socket: Socket): Promise<void> {
  const stream = streamOf(socket);
  const cut = () => stream.cancel();
  connection.signal.addEventListener("abort", cut, { once: true });
  try {
    await exchange(connection, stream).catch(async (error: unknown) => {
      if (!GONE.has(ConnectError.from(error).code)) throw error;
      await connection.renew();
      await exchange(connection, stream);
    });
  } catch (error) {
    if (!connection.signal.aborted && !socket.destroyed) throw error;
  } finally {
    connection.signal.removeEventListener("abort", cut);
    stream.cancel();
  }
}

/** Each connection has one of its own to the daemon, so that one whose reader is slow holds up no other. */
async function exchange(
  { socketPath, target, remote, signal }: Connection,
  stream: ByteStream,
): Promise<void> {
  using daemon = openDaemon(socketPath);
  const connected = Promise.withResolvers<boolean>();
  try {
    const { sandboxId, port } = target();
    const requests = requestsOf(sandboxId, port(remote).number, stream, connected.promise);
    for await (const { message } of daemon.pods.portForward(requests, { signal })) {
      if (message.case === "connected") connected.resolve(true);
      else if (message.case === "data") await stream.write(message.value);
      else if (message.case === "ended") await stream.end();
    }
  } finally {
    connected.resolve(false);
  }
}

/** Nothing of the stream is taken before the pod is connected, so that another attempt has all of it. */
async function* requestsOf(
  podSandboxId: string,
  port: number,
  { incoming }: ByteStream,
  connected: Promise<boolean>,
): AsyncGenerator<MessageInitShape<typeof PortForwardRequestSchema>> {
  yield { message: { case: "start", value: { podSandboxId, port } } };
  if (!(await connected)) return;
  for await (const data of incoming) yield { message: { case: "data", value: data } };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
