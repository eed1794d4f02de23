// SPDX-License-Identifier: Apache-2.0
import { describe } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { check, metadata, verdict } from "../../test/fixtures/request-verdict.ts";
import {
  CheckpointContainerRequestSchema,
  CheckpointPodRequestSchema,
  RestorePodRequestSchema,
} from "../gen/runtime/v1/api_pb.ts";

const container = (fields: MessageInitShape<typeof CheckpointContainerRequestSchema>) =>
  verdict(CheckpointContainerRequestSchema, { containerId: "c", location: "/c.tar", ...fields });
const pod = (fields: MessageInitShape<typeof CheckpointPodRequestSchema>) =>
  verdict(CheckpointPodRequestSchema, {
    podSandboxId: "p",
    outputPath: "/p",
    containerIds: ["c", "d"],
    ...fields,
  });
const app = { metadata: { name: "app" }, image: { image: "x" } };
const restore = (fields: MessageInitShape<typeof RestorePodRequestSchema>) =>
  verdict(RestorePodRequestSchema, {
    checkpointPath: "/p",
    config: { metadata },
    containerConfigs: [app],
    ...fields,
  } as typeof fields);

describe("a checkpoint", () => {
  check([
    ["of a container is accepted", () => container({ timeout: 30n })],
    [
      "needs a container",
      () => container({ containerId: "" }),
      ["InvalidArgument", "container_id: must not be empty"],
    ],
    ["needs a place", () => container({ location: "" }), ["InvalidArgument", "location: must not be empty"]],
    [
      "needs an absolute place",
      () => container({ location: "c.tar" }),
      ["InvalidArgument", "location: must be an absolute path"],
    ],
    [
      "may not go up",
      () => container({ location: "/a/../b" }),
      ["InvalidArgument", 'location: must not contain ".."'],
    ],
    [
      "may not take negative time",
      () => container({ timeout: -1n }),
      ["InvalidArgument", "timeout: must not be negative"],
    ],
    ["of a pod is accepted", () => pod({})],
    [
      "of a pod needs the pod",
      () => pod({ podSandboxId: "" }),
      ["InvalidArgument", "pod_sandbox_id: must not be empty"],
    ],
    [
      "of a pod needs an absolute place",
      () => pod({ outputPath: "p" }),
      ["InvalidArgument", "output_path: must be an absolute path"],
    ],
    [
      "of a pod needs containers",
      () => pod({ containerIds: [] }),
      ["InvalidArgument", "container_ids: must name the running containers"],
    ],
    [
      "of a pod needs their ids",
      () => pod({ containerIds: ["c", ""] }),
      ["InvalidArgument", "container_ids[1]: must not be empty"],
    ],
    [
      "of a pod may not name a container twice",
      () => pod({ containerIds: ["c", "d", "c"] }),
      ["InvalidArgument", 'container_ids[2]: names "c" once more'],
    ],
    [
      "of a pod may not name a thousand containers",
      () => pod({ containerIds: Array.from({ length: 1025 }, (_, index) => `c${index}`) }),
      ["InvalidArgument", "container_ids: must not have more than 1024 entries"],
    ],
    [
      "of a pod has no options",
      () => pod({ options: { compress: "zstd" } }),
      ["InvalidArgument", "options[compress]: is no option that podrt knows"],
    ],
  ]);
});

describe("a pod of a checkpoint", () => {
  check([
    ["is accepted", () => restore({})],
    [
      "needs the checkpoint's place",
      () => restore({ checkpointPath: "" }),
      ["InvalidArgument", "checkpoint_path: must not be empty"],
    ],
    [
      "needs a configuration",
      () => restore({ config: {} }),
      ["InvalidArgument", "config.metadata: must be set"],
    ],
    [
      "needs configurations of its containers as they are for others",
      () => restore({ containerConfigs: [app, { ...app, metadata: { name: "b" }, workingDir: "x" }] }),
      ["InvalidArgument", "container_configs[1].working_dir: must be an absolute path"],
    ],
    [
      "may not have two containers of one name",
      () => restore({ containerConfigs: [app, app] }),
      ["InvalidArgument", 'container_configs[1].metadata.name: "app" is the name of entry 0 too'],
    ],
    [
      "needs a known runtime handler",
      () => restore({ runtimeHandler: "kata" }),
      ["InvalidArgument", "runtime_handler: there is no runtime handler"],
    ],
    [
      "has no options",
      () => restore({ options: { a: "" } }),
      ["InvalidArgument", "options[a]: is no option that podrt knows"],
    ],
  ]);
});
