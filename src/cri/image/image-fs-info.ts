// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { nowNs, type Runtime } from "../../container/runtime.ts";
import type { ImageFsInfoResponseSchema } from "../../gen/runtime/v1/api_pb.ts";

/** Images and the containers' writable layers are on one file system: the entry counts for both. */
export async function imageFsInfo(
  runtime: Runtime,
): Promise<MessageInitShape<typeof ImageFsInfoResponseSchema>> {
  const { mountpoint, usedBytes, inodesUsed } = await runtime.images.usage();
  const usage = {
    timestamp: BigInt(nowNs()),
    fsId: { mountpoint },
    usedBytes: { value: BigInt(usedBytes) },
    inodesUsed: { value: BigInt(inodesUsed) },
  };
  return { imageFilesystems: [usage], containerFilesystems: [usage] };
}
