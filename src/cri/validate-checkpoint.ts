// SPDX-License-Identifier: Apache-2.0
import type {
  CheckpointContainerRequest,
  CheckpointPodRequest,
  RestorePodRequest,
} from "../gen/runtime/v1/api_pb.ts";
import { checkContainerConfig } from "./validate-container.ts";
import { checkAbsolutePath, checkNotEmpty, invalid, required, shown } from "./validate-fields.ts";
import { checkSandboxConfig } from "./validate-sandbox.ts";

/** Far above what the containers of any pod are. */
const MAX_CONTAINERS = 1024;

export function checkCheckpointContainer(request: CheckpointContainerRequest): void {
  checkNotEmpty("container_id", request.containerId);
  checkAbsolutePath("location", request.location);
  if (request.timeout < 0n) invalid("timeout", `must not be negative, but is ${request.timeout}`);
}

export function checkCheckpointPod(request: CheckpointPodRequest): void {
  checkNotEmpty("pod_sandbox_id", request.podSandboxId);
  checkAbsolutePath("output_path", request.outputPath);
  const ids = request.containerIds;
  if (ids.length === 0) invalid("container_ids", "must name the running containers of the pod");
  checkMany("container_ids", ids);
  for (const [index, id] of ids.entries()) {
    checkNotEmpty(`container_ids[${index}]`, id);
    if (ids.indexOf(id) < index) invalid(`container_ids[${index}]`, `names ${shown(id)} once more`);
  }
  checkOptions(request.options);
}

export function checkRestorePod(request: RestorePodRequest): void {
  checkAbsolutePath("checkpoint_path", request.checkpointPath);
  checkSandboxConfig("config", required("config", request.config));
  checkMany("container_configs", request.containerConfigs);
  const names = new Map<string, number>();
  for (const [index, config] of request.containerConfigs.entries()) {
    const path = `container_configs[${index}]`;
    checkContainerConfig(path, config);
    const name = config.metadata?.name ?? "";
    const first = names.get(name);
    if (first !== undefined)
      invalid(`${path}.metadata.name`, `${shown(name)} is the name of entry ${first} too`);
    names.set(name, index);
  }
  checkOptions(request.options);
}

function checkMany(path: string, entries: readonly unknown[]): void {
  if (entries.length > MAX_CONTAINERS) {
    invalid(path, `must not have more than ${MAX_CONTAINERS} entries, but has ${entries.length}`);
  }
}

/** Whoever sends an option counts on it. */
function checkOptions(options: Record<string, string>): void {
  for (const name of Object.keys(options)) invalid(`options[${name}]`, "is no option that podrt knows");
}
