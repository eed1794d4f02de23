// SPDX-License-Identifier: Apache-2.0
import type { ContainerEventResponse } from "../../gen/runtime/v1/api_pb.ts";
import type { EventFeed } from "../event-feed.ts";

/** The subscription begins with the call, not with the first message: what a later List does not show is sent. */
export function getContainerEvents(
  feed: EventFeed,
  signal: AbortSignal,
): AsyncIterable<ContainerEventResponse> {
  return feed.subscribe(signal);
}
