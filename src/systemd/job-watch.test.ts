// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import type { BusConnection } from "../dbus/connection.ts";
import { watchJobs } from "./job-watch.ts";

test("a connection that ends before the job is known ends the wait for it, and nothing listens afterwards", async () => {
  const listeners = new Set<unknown>();
  const listen = (listener: unknown) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  const onEnd = (listener: (reason: Error) => void) => {
    listener(new Error("it has ended"));
    return listen(listener);
  };
  const bus = { onSignal: listen, onEnd } as unknown as BusConnection;
  {
    using jobs = watchJobs(bus, "a.scope");
    await expect(jobs.resultOf("/job/1", undefined)).rejects.toThrow("it has ended");
    expect(listeners.size).toBe(2);
  }
  expect(listeners.size).toBe(0);
});
