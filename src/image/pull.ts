// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { type ErrorKind, messageOf, PodrtError } from "../errors.ts";
import { nodeOf } from "../gc/collect.ts";
import type { Lease } from "../gc/leases.ts";
import { createGate } from "../lib/gate.ts";
import { logger } from "../lib/logger.ts";
import { enterPhase } from "../lib/operation.ts";
import type { Descriptor, Platform } from "../oci/manifest.ts";
import type { Reference } from "../oci/reference.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { pullBytes } from "../telemetry/daemon-families.ts";
import { checkSize, type Ensure, type ImagePlan, nodesOf, planImage, unpackLayer } from "./commit.ts";
import type { ContentStore } from "./content-store.ts";
import { restate } from "./pull-error.ts";
import { type BlobProgress, nothingYet, type PullProgress, trackProgress } from "./pull-progress.ts";
import type { RegistrySession } from "./registry.ts";
import type { RegistryAuth } from "./registry-auth.ts";
import { sessionFor } from "./registry-session.ts";
import { SingleFlight } from "./single-flight.ts";
import { takeOutLayers } from "./take-out-damage.ts";
import type { Unpacker } from "./unpack.ts";
import { unpackInOrder } from "./unpack-ahead.ts";

export interface PullerDeps {
  readonly config: Pick<Config, "registries" | "image">;
  readonly content: ContentStore;
  readonly snapshotter: Snapshotter;
  readonly unpacker: Unpacker;
  readonly platform: Platform;
}

export interface PullRequest {
  readonly reference: Reference;
  /** The reference in its normal form. */
  readonly name: string;
  readonly auth: RegistryAuth | undefined;
  readonly signal: AbortSignal;
  readonly report: (progress: PullProgress) => void;
  /** Protects what has been pulled until the caller has recorded it. */
  readonly lease: Lease;
}

export interface Pull {
  /** Digest the registry has under the reference; undefined when it answers, but not to that question. */
  resolve(): Promise<string | undefined>;
  /** Fetches and unpacks what is missing. */
  fetch(): Promise<ImagePlan>;
}

export interface Puller {
  open(request: PullRequest): Pull;
}

const JOINS_LIMIT = 3;

/** A layer being unpacked: the first attempt, with which those above fail, and what becomes of it in the end. */
interface Unpacking {
  readonly attempt: Promise<void>;
  readonly done: Promise<void>;
}

type WantedBlob = Pick<Descriptor, "digest" | "size">;

/** A puller shares downloads: the same blob is never fetched twice at a time from one registry. */
export function createPuller(deps: PullerDeps): Puller {
  const { config, content, platform } = deps;
  const downloads = new SingleFlight<void, BlobProgress>();

  /** A blob of another size is looked at closely: it is damaged, or the manifest is wrong about it. */
  const removeDamaged = async ({ digest, size }: WantedBlob): Promise<void> => {
    if (!content.has(digest) || content.sizeBytes(digest) === size || (await content.isIntact(digest)))
      return;
    logger.error({ digest }, "a blob was damaged on disk and is fetched again");
    await content.remove(digest);
  };

  /** Starts to unpack a layer; a blob of the right size that turns out to be damaged is fetched once more. */
  const unpack = (
    plan: ImagePlan,
    position: number,
    signal: AbortSignal,
    refetch: (blob: WantedBlob) => Promise<void>,
    below: Unpacking | undefined,
  ): Unpacking => {
    const blob = plan.layerBlobs[position] as WantedBlob;
    const unpackOnce = () => unpackLayer(deps, plan.layers, position, signal);
    const mend = async (error: unknown) => {
      signal.throwIfAborted();
      if (isKind(error, "ResourceExhausted") || (await content.isIntact(blob.digest))) throw error;
      logger.error({ digest: blob.digest }, "a blob was damaged on disk and is fetched again");
      await content.remove(blob.digest);
      await refetch(blob);
      await unpackOnce();
    };
    const attempt = unpackLayer(deps, plan.layers, position, signal, below?.attempt);
    const done = attempt.catch(async (error) => {
      if (below === undefined || (await hasSucceeded(below.attempt))) return mend(error);
      // It could not but fail with the layer below, which may have been mended.
      await below.done;
      return unpackOnce().catch(mend);
    });
    return { attempt, done };
  };

  const fetchBlob = async (
    host: string,
    session: RegistrySession,
    wanted: WantedBlob,
    signal: AbortSignal,
    onBytes: (progress: BlobProgress) => void,
  ): Promise<void> => {
    // Not shared between registries: a slow one must not hold up the pulls from another.
    const key = `${host} ${wanted.digest}`;
    await removeDamaged(wanted);
    for (let joined = 0; ; joined++) {
      if (content.has(wanted.digest)) {
        return checkSize(wanted.digest, content.sizeBytes(wanted.digest), wanted.size);
      }
      let isOwnWork = false;
      try {
        await downloads.run(
          key,
          ({ signal: shared, report }) => {
            isOwnWork = true;
            return download(content, session, wanted, shared, report);
          },
          { signal, onProgress: onBytes },
        );
      } catch (error) {
        signal.throwIfAborted();
        // Another pull's credentials or caller may be why its download failed.
        if (isOwnWork || joined === JOINS_LIMIT) throw error;
      }
    }
  };

  const fetchLayers = async (request: PullRequest, session: RegistrySession, plan: ImagePlan) => {
    const stateOf = (position: number) => {
      const { digest, chainId } = plan.layers[position]!;
      if (!content.has(digest)) return "waiting";
      return deps.snapshotter.hasLayer(chainId) ? "present" : "downloaded";
    };
    const progress = trackProgress(
      { reference: request.name, phase: "fetching" },
      plan.layerBlobs,
      stateOf,
      request.report,
    );
    const gate = createGate(config.image.max_concurrent_downloads);
    const failure = new AbortController();
    const signal = AbortSignal.any([request.signal, failure.signal]);
    const stop = (error: unknown) => failure.abort(error);
    /** The first to fail stops the others; all have ended before the caller cleans up. */
    const orStop = async (work: Promise<void>) => {
      try {
        await work;
      } catch (error) {
        stop(error);
      }
    };
    const fetch = (blob: WantedBlob, onBytes: (progress: BlobProgress) => void) =>
      gate(async () => {
        signal.throwIfAborted();
        await fetchBlob(request.reference.host, session, blob, signal, onBytes);
      });
    const fetchLayer = async (blob: WantedBlob, position: number) => {
      await fetch(blob, (bytes) => progress.bytes(position, bytes));
      progress.fetched(position);
    };
    const fetched = plan.layerBlobs.map((blob, position) => orStop(fetchLayer(blob, position)));
    let below: Unpacking | undefined;
    const unpacked = unpackInOrder(
      plan.layers.length,
      async (position) => {
        await fetched[position];
        signal.throwIfAborted();
      },
      (position) => {
        progress.unpacking(position);
        below = unpack(plan, position, signal, (blob) => fetch(blob, () => {}), below);
        return below.done.then(() => progress.unpacked(position), stop);
      },
    );
    await orStop(unpacked);
    await Promise.all(fetched);
    request.signal.throwIfAborted();
    if (failure.signal.aborted) throw failure.signal.reason;
    progress.done();
  };

  return {
    open(request) {
      const { reference, signal, lease } = request;
      const target = reference.digest ?? (reference.tag as string);
      const session = sessionFor(config, reference, request.auth);
      const ensure: Ensure = async (blob, role) => {
        await lease.hold([nodeOf("blob", blob.digest)]);
        if (content.has(blob.digest) && !(await content.isIntact(blob.digest)))
          await content.remove(blob.digest);
        // Manifests live at an address of their own; a configuration is a blob like a layer.
        if (role === "manifest") await fetchManifest(content, session, blob, signal);
        else await fetchBlob(reference.host, session, blob, signal, () => {});
      };
      request.report(nothingYet(request.name, "resolving"));
      return {
        resolve() {
          enterPhase("resolve");
          return resolveQuietly(session, target, signal);
        },
        async fetch() {
          enterPhase("manifest");
          const root = await during(`manifest ${target}`, () => session.manifest(target, signal));
          await lease.hold([nodeOf("blob", root.digest)]);
          await content.ingest(once(root.bytes), { digest: root.digest }, signal);
          const plan = await planImage(content, root, platform, ensure);
          await lease.hold(nodesOf(plan));
          enterPhase("layers");
          for (const damaged of await takeOutLayers(plan.layers, deps.snapshotter))
            logger.error({ image: request.name }, `${damaged}; it is unpacked again`);
          await fetchLayers(request, session, plan);
          return plan;
        },
      };
    },
  };
}

/** What the registry has under a tag or digest; undefined where it answers, but not to that question. */
async function resolveQuietly(
  session: RegistrySession,
  target: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await during(`manifest ${target}`, () => session.resolve(target, signal));
  } catch (error) {
    signal.throwIfAborted();
    if (isKind(error, "Unavailable", "PermissionDenied")) throw error;
    return undefined;
  }
}

async function fetchManifest(
  content: ContentStore,
  session: RegistrySession,
  wanted: WantedBlob,
  signal: AbortSignal,
): Promise<void> {
  if (!content.has(wanted.digest)) {
    const step = `manifest ${wanted.digest}`;
    const { bytes } = await during(step, () => session.manifest(wanted.digest, signal));
    checkSize(wanted.digest, bytes.length, wanted.size);
    await content.ingest(once(bytes), { digest: wanted.digest }, signal);
  }
  checkSize(wanted.digest, content.sizeBytes(wanted.digest), wanted.size);
}

/** Downloads a blob into the store; an endpoint that sends something else is passed over for the next. */
async function download(
  content: ContentStore,
  session: RegistrySession,
  wanted: WantedBlob,
  signal: AbortSignal,
  onBytes: (progress: BlobProgress) => void,
): Promise<void> {
  const counted = async function* (source: AsyncIterable<Uint8Array>, keptBytes: number) {
    let doneBytes = keptBytes;
    onBytes({ doneBytes, keptBytes });
    for await (const chunk of source) {
      doneBytes += chunk.length;
      onBytes({ doneBytes, keptBytes });
      pullBytes.add(chunk.length);
      yield chunk;
    }
  };
  const expected = { digest: wanted.digest, sizeBytes: wanted.size };
  const hosts = session.hosts();
  for (let skip = 0; ; skip++) {
    try {
      const from = (offset: number) => counted(session.blob(wanted, signal, skip, offset), offset);
      await content.download(from, expected, signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      // What the disk has to do with it is said as it is.
      if (isKind(error, "ResourceExhausted", "Internal")) throw error;
      if (isKind(error, "FailedPrecondition") && skip + 1 < hosts.length) continue;
      throw restate(error, `blob ${wanted.digest} from ${hosts.slice(skip).join(", ")}: ${messageOf(error)}`);
    }
  }
}

/** Says of an error at which step of the pull it was. */
async function during<T>(step: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof PodrtError ? restate(error, `${step}: ${error.message}`) : error;
  }
}

function hasSucceeded(work: Promise<void>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function isKind(error: unknown, ...kinds: readonly ErrorKind[]): boolean {
  return error instanceof PodrtError && kinds.includes(error.kind);
}
