// SPDX-License-Identifier: Apache-2.0
import type { WebSocket } from "ws-node";
import { type ForwardOptions, forward } from "./forward.ts";
import type { ChannelCodec } from "./protocols.ts";
import { channelsOver } from "./websocket.ts";

/**
 * Serves the old form of port forwarding on an open WebSocket: two channels for each port of the request,
 * data and errors, each of which begins with the port as two bytes. Resolves when the connection is closed.
 */
export async function servePortForwardOverWebSocket(
  socket: WebSocket,
  ports: readonly number[],
  codec: ChannelCodec,
  options: ForwardOptions,
): Promise<void> {
  const channels = channelsOver(socket, codec);
  const forwarded = ports.map(async (port, index) => {
    const data = channels.channel(2 * index);
    const error = channels.output(2 * index + 1);
    const header = Uint8Array.of(port & 0xff, port >> 8);
    try {
      await data.write(header);
      await error.write(header);
    } catch {
      // The client has left.
      return;
    }
    await forward({ port, data, error }, options);
  });
  await Promise.race([Promise.all(forwarded), channels.closed]);
  await channels.close();
}
