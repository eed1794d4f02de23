// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, setDefaultTimeout } from "bun:test";
import { startImageRegistry } from "../../fixtures/images/prepare.ts";
import type { Registry } from "../../fixtures/images/registry.ts";
import { patience } from "../../support/patience.ts";
import { type Daemon, type DaemonOptions, startDaemon } from "./daemon.ts";

export interface Fixture {
  readonly daemon: Daemon;
  readonly registry: Registry;
}

/**
 * One registry with all images and one daemon that pulls from it, for the tests of a file. After the last test
 * everything of the daemon must be gone from the machine, else the file fails.
 */
export function useDaemon(options: DaemonOptions = {}): Fixture {
  setDefaultTimeout(60_000 * patience);
  const fixture: { daemon?: Daemon; registry?: Registry } = {};
  beforeAll(async () => {
    fixture.registry = await startImageRegistry();
    fixture.daemon = await startDaemon({ mirror: fixture.registry.host, ...options });
  });
  afterAll(async () => {
    try {
      await fixture.daemon?.close();
    } finally {
      await fixture.registry?.[Symbol.asyncDispose]();
    }
  });
  return fixture as Fixture;
}
