// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { listReclaimable, reclaim } from "../../disk/reclaimable.ts";
import { diskUsage } from "../../disk/usage.ts";
import { InvalidArgumentError, messageOf } from "../../errors.ts";
import {
  type DiskUsageResponse,
  DiskUsageResponseSchema,
  type ListReclaimableRequest,
  type ListReclaimableResponse,
  ListReclaimableResponseSchema,
  type ReclaimReply,
  ReclaimReplySchema,
  type ReclaimRequest,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";
import { logger } from "../../lib/logger.ts";

/** More than an instance has of everything together. */
const MAX_ITEMS = 10_000;

export async function diskUsageRows(runtime: Runtime, keeper: Keeper): Promise<DiskUsageResponse> {
  const rows = (await diskUsage(runtime, keeper)).map(({ bytes, reclaimableBytes, isWhole, ...row }) => ({
    ...row,
    bytes: BigInt(bytes),
    reclaimableBytes: BigInt(reclaimableBytes),
    incomplete: !isWhole,
  }));
  return create(DiskUsageResponseSchema, { rows });
}

export async function listGarbage(
  runtime: Runtime,
  keeper: Keeper,
  { pods, volumes, minAgeMs }: ListReclaimableRequest,
): Promise<ListReclaimableResponse> {
  const scope = { pods, volumes, minAgeMs: Number(minAgeMs) };
  const found = await listReclaimable(runtime, keeper, scope);
  const items = found.items.map((item) => ({ ...item, bytes: BigInt(item.bytes) }));
  return create(ListReclaimableResponseSchema, { items, youngImages: found.youngImages });
}

export async function* reclaimAll(
  runtime: Runtime,
  keeper: Keeper,
  { items, minAgeMs }: ReclaimRequest,
): AsyncGenerator<ReclaimReply> {
  if (items.length > MAX_ITEMS) {
    throw new InvalidArgumentError("items", `has ${items.length} entries, more than ${MAX_ITEMS}`);
  }
  for (const item of items) {
    let error = "";
    try {
      await reclaim(runtime, keeper, item, Number(minAgeMs));
    } catch (cause) {
      error = messageOf(cause);
      logger.info({ kind: item.kind, id: item.id, error }, "not reclaimed");
    }
    yield create(ReclaimReplySchema, { item, error });
  }
}
