// SPDX-License-Identifier: Apache-2.0
import type { ConnectRouter } from "@connectrpc/connect";
import type { Runtime } from "../../container/runtime.ts";
import { PodService } from "../../gen/podrt/v1/podrt_pb.ts";
import type { Keeper } from "../../kube/keeper.ts";
import { attachStream } from "./attach.ts";
import { copyFrom, copyTo } from "./copy.ts";
import { deleteCronJob, listCronJobs } from "./cron-jobs.ts";
import { debugDumpPieces } from "./debug-dump.ts";
import { deletePod } from "./delete-pod.ts";
import { diskUsageRows, listGarbage, reclaimAll } from "./disk.ts";
import type { EventLog } from "./event-log.ts";
import { execStream } from "./exec.ts";
import { explain } from "./explain.ts";
import { listPulls } from "./image-progress.ts";
import { importImages } from "./import.ts";
import { listPods } from "./list-pods.ts";
import { mapPods } from "./map-pods.ts";
import { portForwardStream } from "./port-forward.ts";
import { pullWithProgress } from "./pull.ts";
import { runPod } from "./run-pod.ts";
import { stopPod } from "./stop-pod.ts";
import { listVolumes, removeVolume } from "./volumes.ts";

/**
 * podrt's own service, for its commands; see proto/podrt/v1/podrt.proto. What counts images waits for `ownImages`, those
 * that podrt brings along.
 */
export function podrtRoutes(
  runtime: Runtime,
  keeper: Keeper,
  events: EventLog,
  dump: () => Promise<string>,
  ownImages: Promise<void> = Promise.resolve(),
): (router: ConnectRouter) => void {
  return (router) => {
    router.service(PodService, {
      runPod: (request) => runPod(keeper, request),
      listPods: () => listPods(keeper),
      stopPod: (request) => stopPod(keeper, request),
      deletePod: (request) => deletePod(keeper, request),
      import: (request, { signal }) => importImages(runtime, request, signal),
      pull: (request, { signal }) => pullWithProgress(runtime, request, signal),
      listPulls: () => listPulls(runtime),
      exec: (requests, { signal }) => execStream(runtime, requests, signal),
      listCronJobs: () => listCronJobs(keeper),
      deleteCronJob: (request) => deleteCronJob(keeper, request),
      listVolumes: () => listVolumes(keeper),
      removeVolume: (request) => removeVolume(keeper, request),
      debugDump: () => debugDumpPieces(dump),
      explain: (request, { signal }) => explain(runtime, request, signal),
      mapPods: () => mapPods(runtime),
      events: (request, { signal }) => events.follow(request, signal),
      attach: (requests, { signal }) => attachStream(runtime, requests, signal),
      portForward: (requests) => portForwardStream(runtime, requests),
      copyFrom: (request, { signal }) => copyFrom(runtime, request, signal),
      diskUsage: () => ownImages.then(() => diskUsageRows(runtime, keeper)),
      listReclaimable: (request) => ownImages.then(() => listGarbage(runtime, keeper, request)),
      reclaim: (request) => reclaimAll(runtime, keeper, request),
      copyTo: (requests, { signal }) => copyTo(runtime, requests, signal),
    });
  };
}
