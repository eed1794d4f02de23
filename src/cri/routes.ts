// SPDX-License-Identifier: Apache-2.0
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import type { Runtime } from "../container/runtime.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import { openStats } from "../stats/stats.ts";
import type { StreamingServer } from "../streaming/server.ts";
import type { EventFeed } from "./event-feed.ts";
import { imageFsInfo } from "./image/image-fs-info.ts";
import { imageStatus } from "./image/image-status.ts";
import { listImages } from "./image/list-images.ts";
import { pullImage } from "./image/pull-image.ts";
import { removeImage } from "./image/remove-image.ts";
import { streamImages } from "./image/stream-images.ts";
import { attach } from "./runtime/attach.ts";
import { checkpointContainer } from "./runtime/checkpoint-container.ts";
import { checkpointPod } from "./runtime/checkpoint-pod.ts";
import { containerStats } from "./runtime/container-stats.ts";
import { containerStatus } from "./runtime/container-status.ts";
import { createContainer } from "./runtime/create-container.ts";
import { exec } from "./runtime/exec.ts";
import { execSync } from "./runtime/exec-sync.ts";
import { getContainerEvents } from "./runtime/get-container-events.ts";
import { listContainerStats } from "./runtime/list-container-stats.ts";
import { listContainers } from "./runtime/list-containers.ts";
import { listMetricDescriptors } from "./runtime/list-metric-descriptors.ts";
import { listPodSandbox } from "./runtime/list-pod-sandbox.ts";
import { listPodSandboxMetrics } from "./runtime/list-pod-sandbox-metrics.ts";
import { listPodSandboxStats } from "./runtime/list-pod-sandbox-stats.ts";
import { podSandboxStats } from "./runtime/pod-sandbox-stats.ts";
import { podSandboxStatus } from "./runtime/pod-sandbox-status.ts";
import { portForward } from "./runtime/port-forward.ts";
import { removeContainer } from "./runtime/remove-container.ts";
import { removePodSandbox } from "./runtime/remove-pod-sandbox.ts";
import { reopenContainerLog } from "./runtime/reopen-container-log.ts";
import { restorePod } from "./runtime/restore-pod.ts";
import { runPodSandbox } from "./runtime/run-pod-sandbox.ts";
import { runtimeConfig } from "./runtime/runtime-config.ts";
import { startContainer } from "./runtime/start-container.ts";
import { status } from "./runtime/status.ts";
import { stopContainer } from "./runtime/stop-container.ts";
import { stopPodSandbox } from "./runtime/stop-pod-sandbox.ts";
import { streamContainerStats } from "./runtime/stream-container-stats.ts";
import { streamContainers } from "./runtime/stream-containers.ts";
import { streamPodSandboxMetrics } from "./runtime/stream-pod-sandbox-metrics.ts";
import { streamPodSandboxStats } from "./runtime/stream-pod-sandbox-stats.ts";
import { streamPodSandboxes } from "./runtime/stream-pod-sandboxes.ts";
import { updateContainerResources } from "./runtime/update-container-resources.ts";
import { updatePodSandboxResources } from "./runtime/update-pod-sandbox-resources.ts";
import { updateRuntimeConfig } from "./runtime/update-runtime-config.ts";
import { version } from "./runtime/version.ts";

/**
 * Both services of the interface, served from one runtime; sessions are served from `streaming`. Calls about images wait
 * for `ownImages`, those that podrt brings along.
 */
export function criRoutes(
  runtime: Runtime,
  streaming: StreamingServer,
  events: EventFeed,
  ownImages: Promise<void> = Promise.resolve(),
): (router: ConnectRouter) => void {
  return (router) => {
    router.service(RuntimeService, runtimeService(runtime, streaming, events, ownImages));
    router.service(ImageService, imageService(runtime, ownImages));
  };
}

function runtimeService(
  runtime: Runtime,
  streaming: StreamingServer,
  events: EventFeed,
  ownImages: Promise<void>,
): ServiceImpl<typeof RuntimeService> {
  const stats = openStats(runtime);
  return {
    version,
    status: (request) => status(runtime, request),
    runtimeConfig: () => runtimeConfig(runtime),
    updateRuntimeConfig: (request) => updateRuntimeConfig(runtime, request),
    runPodSandbox: (request) => runPodSandbox(runtime, request),
    stopPodSandbox: (request) => stopPodSandbox(runtime, request),
    removePodSandbox: (request) => removePodSandbox(runtime, request),
    updatePodSandboxResources: (request) => updatePodSandboxResources(runtime, request),
    podSandboxStatus: (request) => podSandboxStatus(runtime, request),
    listPodSandbox: (request) => listPodSandbox(runtime, request),
    streamPodSandboxes: (request) => streamPodSandboxes(runtime, request),
    createContainer: (request) => ownImages.then(() => createContainer(runtime, request)),
    startContainer: (request) => startContainer(runtime, request),
    stopContainer: (request) => stopContainer(runtime, request),
    removeContainer: (request) => removeContainer(runtime, request),
    listContainers: (request) => listContainers(runtime, request),
    streamContainers: (request) => streamContainers(runtime, request),
    updateContainerResources: (request) => updateContainerResources(runtime, request),
    containerStatus: (request) => containerStatus(runtime, request),
    exec: (request) => exec(runtime, streaming, request),
    attach: (request) => attach(runtime, streaming, request),
    portForward: (request) => portForward(runtime, streaming, request),
    execSync: (request, { signal }) => execSync(runtime, request, signal),
    getContainerEvents: (_request, { signal }) => getContainerEvents(events, signal),
    checkpointContainer: (request, { signal }) => checkpointContainer(runtime, request, signal),
    checkpointPod: (request, context) => checkpointPod(runtime, request, context),
    restorePod: (request, { signal }) => restorePod(runtime, request, signal),
    reopenContainerLog: (request) => reopenContainerLog(runtime, request),
    containerStats: (request) => containerStats(runtime, stats, request),
    listContainerStats: (request, { signal }) => listContainerStats(runtime, stats, request, signal),
    streamContainerStats: (request, { signal }) => streamContainerStats(runtime, stats, request, signal),
    podSandboxStats: (request) => podSandboxStats(runtime, stats, request),
    listPodSandboxStats: (request, { signal }) => listPodSandboxStats(runtime, stats, request, signal),
    streamPodSandboxStats: (request, { signal }) => streamPodSandboxStats(runtime, stats, request, signal),
    listMetricDescriptors: () => listMetricDescriptors(stats),
    listPodSandboxMetrics: (_request, { signal }) => listPodSandboxMetrics(runtime, stats, signal),
    streamPodSandboxMetrics: (_request, { signal }) => streamPodSandboxMetrics(runtime, stats, signal),
  };
}

function imageService(runtime: Runtime, ownImages: Promise<void>): ServiceImpl<typeof ImageService> {
  return {
    pullImage: (request, { signal }) => ownImages.then(() => pullImage(runtime, request, signal)),
    listImages: (request) => ownImages.then(() => listImages(runtime, request)),
    async *streamImages(request) {
      await ownImages;
      yield* streamImages(runtime, request);
    },
    imageStatus: (request) => ownImages.then(() => imageStatus(runtime, request)),
    removeImage: (request) => ownImages.then(() => removeImage(runtime, request)),
    imageFsInfo: () => ownImages.then(() => imageFsInfo(runtime)),
  };
}
