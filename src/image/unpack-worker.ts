// SPDX-License-Identifier: Apache-2.0
import { serveJobs } from "../lib/worker-pool.ts";
import { type UnpackRequest, type UnpackResult, unpackLayer } from "./unpack-layer.ts";

/** Entry point of the threads that `startUnpacker` starts. */
serveJobs<UnpackRequest, UnpackResult>((request, signal) => unpackLayer(request, signal));
