// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";

/*
 * What the rows of the state database must have to be taken for records: the fields that podrt goes by, of the right
 * kind. podrt writes them itself, so this is no defence against anybody, only against a disk.
 */

const nanoseconds = v.pipe(v.string(), v.digits());
const digest = v.pipe(v.string(), v.regex(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/));
const processIdentity = v.looseObject({ pid: v.number(), startTicks: v.string() });
const document = v.looseObject({});

export const sandboxSchema = v.looseObject({
  id: v.string(),
  name: v.string(),
  namespace: v.string(),
  uid: v.string(),
  attempt: v.number(),
  createdAtNs: nanoseconds,
  config: document,
  readyAtNs: v.optional(nanoseconds),
  end: v.optional(v.looseObject({ atNs: nanoseconds, reason: v.string() })),
  bootId: v.string(),
  monitor: v.optional(processIdentity),
  pause: v.optional(processIdentity),
  cgroupPath: v.string(),
  ownsCgroupParent: v.boolean(),
  scope: v.optional(v.looseObject({ name: v.string(), slice: v.string() })),
  addresses: v.array(v.string()),
  networkAttached: v.boolean(),
});

export const containerSchema = v.looseObject({
  id: v.string(),
  sandboxId: v.string(),
  name: v.string(),
  attempt: v.number(),
  createdAtNs: nanoseconds,
  config: document,
  imageId: v.string(),
  imageName: v.string(),
  imageReference: v.string(),
  created: v.boolean(),
  startingAtNs: v.optional(nanoseconds),
  startedAtNs: v.optional(nanoseconds),
  process: v.optional(processIdentity),
  finishedAtNs: v.optional(nanoseconds),
  exitCode: v.optional(v.number()),
  runtimeSpec: document,
  cgroupPath: v.string(),
  logPath: v.string(),
  heldFd: v.number(),
  stopSignal: v.number(),
});

export const imageSchema = v.looseObject({
  id: digest,
  repoTags: v.array(v.string()),
  repoDigests: v.array(v.string()),
  sizeBytes: v.number(),
  manifestDigest: digest,
  blobs: v.array(digest),
  layers: v.array(v.looseObject({ digest, mediaType: v.string(), diffId: digest, chainId: digest })),
  config: document,
  createdAtNs: nanoseconds,
});

export const layerSchema = v.looseObject({
  directory: v.pipe(v.string(), v.regex(/^[0-9]{1,15}$/)),
  sizeBytes: v.number(),
  inodes: v.number(),
  createdAtNs: nanoseconds,
  summary: v.optional(v.string()),
});

export const leaseSchema = v.looseObject({
  sandboxId: v.string(),
  addresses: v.array(v.pipe(v.string(), v.ip())),
  hostPorts: v.array(v.looseObject({ containerPort: v.number(), hostPort: v.number() })),
  hostInterface: v.string(),
});

export const attachmentSchema = v.looseObject({
  sandboxId: v.string(),
  interfaceName: v.string(),
  network: v.looseObject({
    name: v.string(),
    cniVersion: v.string(),
    plugins: v.array(v.looseObject({ type: v.string() })),
  }),
  arguments: v.record(v.string(), v.string()),
  capabilities: document,
  netns: v.string(),
  result: v.optional(document),
  isReleasing: v.boolean(),
});

const keptPod = v.looseObject({
  namespace: v.string(),
  name: v.string(),
  uid: v.string(),
  spec: v.looseObject({ containers: v.array(v.looseObject({ name: v.string() })) }),
});

export const podSchema = v.looseObject({
  pod: keptPod,
  createdAtNs: nanoseconds,
  nextSandboxAttempt: v.number(),
  containers: v.record(
    v.string(),
    v.looseObject({ nextAttempt: v.number(), crashes: v.number(), notBeforeMs: v.number() }),
  ),
});

export const cronJobSchema = v.looseObject({
  job: v.looseObject({ policy: v.looseObject({ schedule: v.string() }), pod: keptPod }),
  createdAtMs: v.number(),
});
