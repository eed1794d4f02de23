// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import manifest from "../../../package.json" with { type: "json" };
import type { VersionResponseSchema } from "../../gen/runtime/v1/api_pb.ts";

/** The first two are fixed by the interface; the name is the scheme of container ids in a pod's status. */
export function version(): MessageInitShape<typeof VersionResponseSchema> {
  return {
    version: "0.1.0",
    runtimeApiVersion: "v1",
    runtimeName: manifest.name,
    runtimeVersion: manifest.version,
  };
}
