// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { CgroupDriver, type RuntimeConfigResponseSchema } from "../../gen/runtime/v1/api_pb.ts";

/** The kubelet adopts this at its start. */
export function runtimeConfig({ config }: Runtime): MessageInitShape<typeof RuntimeConfigResponseSchema> {
  const isSystemd = config.cgroup.driver === "systemd";
  return { linux: { cgroupDriver: isSystemd ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS } };
}
