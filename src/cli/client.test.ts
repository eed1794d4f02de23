// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { openDaemon } from "./client.ts";
import { startFakeDaemon } from "./fake-daemon.ts";

test("a daemon that is let go of hears that its calls are over", async () => {
  const begun = Promise.withResolvers<AbortSignal>();
  await using fake = await startFakeDaemon({
    pods: {
      listPods: (_, { signal }) => {
        begun.resolve(signal);
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    },
  });
  let call: Promise<unknown>;
  let heard: Promise<void>;
  {
    using daemon = openDaemon(fake.socketPath);
    call = daemon.pods.listPods({}).catch((error: unknown) => error);
    const signal = await begun.promise;
    heard = new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
  }
  expect(await call).toBeInstanceOf(Error);
  await heard;
});
