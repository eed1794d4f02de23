// SPDX-License-Identifier: Apache-2.0
import type { DiskUsageRow } from "../../gen/podrt/v1/podrt_pb.ts";
import { openDaemon } from "../client.ts";
import { size } from "../human.ts";
import { type Listing, printRows } from "../output/print.ts";
import type { Context } from "../program.ts";
import { MEASURE_TIMEOUT_MS } from "./timeout.ts";

/** Shows what the instance has on disk, by kind, and what of it nobody needs. */
export async function df({ io, socketPath, output }: Context): Promise<number> {
  using daemon = openDaemon(socketPath);
  const { rows } = await daemon.pods.diskUsage({}, { timeoutMs: MEASURE_TIMEOUT_MS });
  await printRows({ io, output }, rows, LISTING);
  if (rows.some(({ incomplete }) => incomplete)) {
    await io.err(
      "podrt: what is marked > is larger: something changed, or took too long, while it was measured\n",
    );
  }
  return 0;
}

const LISTING: Listing<DiskUsageRow> = {
  columns: [
    { heading: "KIND", cell: ({ kind }) => kind },
    { heading: "COUNT", cell: ({ count }) => `${count}` },
    { heading: "IN USE", cell: ({ inUse }) => `${inUse}` },
    { heading: "SIZE", cell: ({ bytes, incomplete }) => `${incomplete ? ">" : ""}${size(bytes)}` },
    { heading: "RECLAIMABLE", cell: reclaimable },
  ],
  object: ({ kind, count, inUse, bytes, reclaimableBytes, incomplete }) => ({
    kind,
    count,
    inUse,
    sizeBytes: Number(bytes),
    reclaimableBytes: Number(reclaimableBytes),
    incomplete,
  }),
  name: ({ kind }) => kind,
};

function reclaimable({ bytes, reclaimableBytes }: DiskUsageRow): string {
  if (reclaimableBytes === 0n) return "-";
  const share = bytes === 0n ? 100 : Math.round((100 * Number(reclaimableBytes)) / Number(bytes));
  return `${size(reclaimableBytes)} (${share}%)`;
}
