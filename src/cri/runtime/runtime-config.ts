// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { CgroupDriver, type RuntimeConfigResponseSchema } from "../../gen/runtime/v1/api_pb.ts";

/** The kubelet adopts this at its start. */
export function runtimeConfig(): MessageInitShape<typeof RuntimeConfigResponseSchema> {
  return { linux: { cgroupDriver: CgroupDriver.CGROUPFS } };
}
