// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import type { Runtime } from "./runtime.ts";
import { containerState } from "./status.ts";

/** Opens a running container's log again after the file was renamed; no file is made for any other. */
export function reopenLog(runtime: Runtime, id: string): void {
  const record = runtime.containers.get(id);
  if (record === undefined) throw new NotFoundError(`container ${id} does not exist`);
  const log = runtime.live.get(id)?.log;
  if (containerState(record) !== "running" || log === undefined) {
    throw new FailedPreconditionError(`cannot reopen the log of container ${id}: it is not running`);
  }
  log.reopen();
}
