// SPDX-License-Identifier: Apache-2.0
import type { WebSocket } from "ws-node";
import type { ChannelCodec, CommandProtocol } from "./protocols.ts";
import { type CommandOptions, serveCommand } from "./remote-command.ts";
import type { CommandRequest } from "./requests.ts";
import { channelsOver } from "./websocket.ts";

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;

/** Serves an exec or attach on an open WebSocket. Resolves when the connection is closed. */
export async function serveCommandOverWebSocket(
  socket: WebSocket,
  request: CommandRequest,
  protocol: CommandProtocol & ChannelCodec,
  options: CommandOptions,
): Promise<void> {
  const channels = channelsOver(socket, protocol);
  const streams = {
    stdin: request.stdin ? channels.channel(STDIN) : undefined,
    stdout: request.stdout ? channels.output(STDOUT) : undefined,
    stderr: request.stderr ? channels.output(STDERR) : undefined,
    resize: request.tty ? channels.channel(RESIZE) : undefined,
    error: channels.output(ERROR),
  };
  const first = streams.stdout ?? streams.stderr ?? streams.error;
  // Tells a client that waits for a message that the session stands.
  await first.write(new Uint8Array(0)).catch(() => {});
  await serveCommand(
    {
      ...streams,
      hasStatusObjects: protocol.hasStatusObjects,
      closed: channels.closed,
      close: () => channels.close(),
    },
    options,
  );
  channels.destroy();
}
