// SPDX-License-Identifier: Apache-2.0
import { openDaemon, promptly } from "../client.ts";
import type { Context } from "../program.ts";
import { openFeed } from "./feed.ts";
import { serveDashboard } from "./server.ts";

/** Serves a page that shows the pods as they are, until Ctrl-C. */
export async function dashboard(
  { io, socketPath }: Context,
  { port }: { readonly port: number },
): Promise<number> {
  using daemon = openDaemon(socketPath);
  // A page of a daemon that is not there would show nothing: the sentence about that belongs here.
  await daemon.runtime.version({}, promptly());
  const feed = openFeed(daemon);
  try {
    const server = await serveDashboard(feed, port);
    try {
      await io.out(`${server.url}\n`);
      if (io.isTerminal) {
        await io.err(
          "Open this address in a browser of this machine; who has it sees what it shows. Ctrl-C ends it.\n",
        );
      }
      if (!io.interrupted.aborted) {
        await new Promise((resolve) => io.interrupted.addEventListener("abort", resolve, { once: true }));
      }
      return 0;
    } finally {
      server.close();
    }
  } finally {
    feed.close();
  }
}
