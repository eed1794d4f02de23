// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ListMetricDescriptorsResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { Stats } from "../../stats/stats.ts";

/** The same from the start of the daemon to its end: the kubelet asks once. */
export function listMetricDescriptors(
  stats: Stats,
): MessageInitShape<typeof ListMetricDescriptorsResponseSchema> {
  return { descriptors: [...stats.metricDescriptors] };
}
