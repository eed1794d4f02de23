// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server } from "node:net";

/** An abstract socket (unix(7)): it leaves no file, and goes with the process that has it. */
const name = "\0podrt-conformance";
const waitMs = 15 * 60_000;

/** The suite's servers have fixed ports of the host, so that one run at a time is all that a machine can bear. */
export async function takeTurn(): Promise<Disposable> {
  const endMs = performance.now() + waitMs;
  for (let isFirst = true; performance.now() < endMs; isFirst = false) {
    const server = await listening();
    if (server !== undefined) return { [Symbol.dispose]: () => void server.close() };
    if (isFirst)
      console.log("make conformance: another run is under way on this machine: waiting for its end");
    await Bun.sleep(500);
  }
  throw new Error(`another run has not ended within ${waitMs / 60_000} minutes`);
}

function listening(): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ path: name }, () => resolve(server));
  });
}
