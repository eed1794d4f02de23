// SPDX-License-Identifier: Apache-2.0
import { Signal } from "../../gen/runtime/v1/api_pb.ts";

/** Signals by the names a manifest uses, as in SIGTERM and SIGRTMIN+3. */
export const SIGNALS: ReadonlyMap<string, Signal> = new Map(
  Object.entries(Signal)
    .filter(([name]) => name.startsWith("SIG"))
    .map(([name, number]) => [name.replace("PLUS", "+").replace("MINUS", "-"), number]),
);
