// SPDX-License-Identifier: Apache-2.0
import { Code, ConnectError } from "@connectrpc/connect";
import { loadConfig } from "../config.ts";
import { debugDump as offlineDump } from "../debug/dump.ts";
import { isAbsent, openDaemon, sentenceOf } from "./client.ts";
import type { Context } from "./program.ts";

/** Asks the daemon; where it is dead or hangs, looks itself. */
export async function debugDump(
  { io, socketPath, paths }: Context,
  { timeout: timeoutSeconds }: { readonly timeout: number },
): Promise<number> {
  try {
    await io.out(await daemonDump(socketPath, timeoutSeconds * 1000));
  } catch (error) {
    const isDeadOrHangs = isAbsent(error) || ConnectError.from(error).code === Code.DeadlineExceeded;
    // Only an instance says where its files are.
    if (!isDeadOrHangs || paths === undefined) throw error;
    await io.out(await offlineDump(paths, loadConfig(paths), { reason: sentenceOf(error) }));
  }
  return 0;
}

async function daemonDump(socketPath: string, timeoutMs: number): Promise<string> {
  using daemon = openDaemon(socketPath);
  const pieces: string[] = [];
  for await (const { text } of daemon.pods.debugDump({}, { timeoutMs })) pieces.push(text);
  return pieces.join("");
}
