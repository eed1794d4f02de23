// SPDX-License-Identifier: Apache-2.0
import type { Descriptor } from "../oci/manifest.ts";

/**
 * `present`: it was there before the pull. Else it waits for its turn, is downloaded, waits for those below it or for a
 * thread, is unpacked, and is done.
 */
export type LayerState = "present" | "waiting" | "downloading" | "downloaded" | "unpacking" | "done";

export interface LayerProgress {
  /** Of the blob as it is transferred. */
  readonly digest: string;
  readonly state: LayerState;
  /** Of its blob, and of these what an earlier attempt had received. */
  readonly doneBytes: number;
  readonly keptBytes: number;
  readonly totalBytes: number;
}

/** How far a pull or import has come. Layers that were there already count as done, and their bytes are not counted. */
export interface PullProgress {
  readonly reference: string;
  /** An import is `reading` while an archive is inflated, of unknown size, and `copying` after that. */
  readonly phase: "resolving" | "fetching" | "reading" | "copying" | "done";
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Unpacked, that is. */
  readonly layersDone: number;
  readonly layersTotal: number;
  /** Bottom first; empty while the image is not known yet. */
  readonly layers: readonly LayerProgress[];
}

/** What is there of a blob that is being received. */
export interface BlobProgress {
  readonly doneBytes: number;
  readonly keptBytes: number;
}

export interface ProgressTracker {
  /** Its blob is being received; called again as more of it comes. */
  bytes(position: number, progress: BlobProgress): void;
  /** Its blob is there. */
  fetched(position: number): void;
  unpacking(position: number): void;
  unpacked(position: number): void;
  done(): void;
}

/** What a person cannot follow is not told: bytes are reported at this distance, changes of state at once. */
const INTERVAL_MS = 50;

/** A report of a pull or import whose image is not known yet. */
export function nothingYet(reference: string, phase: "resolving" | "reading", doneBytes = 0): PullProgress {
  return {
    reference,
    phase,
    doneBytes,
    totalBytes: 0,
    layersDone: 0,
    layersTotal: 0,
    layers: [],
  };
}

/** Follows the layers of one image and reports what becomes of them. */
export function trackProgress(
  { reference, phase: begun }: Pick<PullProgress, "reference" | "phase">,
  blobs: readonly Pick<Descriptor, "digest" | "size">[],
  stateOf: (position: number) => Extract<LayerState, "present" | "downloaded" | "waiting">,
  report: (progress: PullProgress) => void,
): ProgressTracker {
  let phase = begun;
  let reportedAtMs = Number.NEGATIVE_INFINITY;
  const layers = blobs.map(({ digest, size }, position): LayerProgress => {
    const state = stateOf(position);
    return { digest, state, doneBytes: state === "waiting" ? 0 : size, keptBytes: 0, totalBytes: size };
  });
  /** Layers to download, each blob once. */
  const missing = layers.flatMap(({ state, digest }, position) =>
    state === "waiting" && layers.findIndex((layer) => layer.digest === digest) === position
      ? [position]
      : [],
  );
  const sum = (key: "doneBytes" | "totalBytes") =>
    missing.reduce((total, position) => total + layers[position]![key], 0);
  const tell = () => {
    reportedAtMs = performance.now();
    report({
      reference,
      phase,
      doneBytes: sum("doneBytes"),
      totalBytes: sum("totalBytes"),
      layersDone: layers.filter(({ state }) => state === "done" || state === "present").length,
      layersTotal: layers.length,
      layers: [...layers],
    });
  };
  const change = (position: number, changes: Partial<LayerProgress>) => {
    const before = layers[position]!;
    if (before.state === "present") return;
    layers[position] = { ...before, ...changes };
    const isNews = before.state !== layers[position].state;
    if (isNews || performance.now() - reportedAtMs >= INTERVAL_MS) tell();
  };
  tell();
  return {
    bytes(position, { doneBytes, keptBytes }) {
      const { totalBytes } = layers[position]!;
      change(position, { state: "downloading", doneBytes: Math.min(doneBytes, totalBytes), keptBytes });
    },
    fetched: (position) => change(position, { state: "downloaded", doneBytes: layers[position]!.totalBytes }),
    unpacking: (position) => change(position, { state: "unpacking" }),
    unpacked: (position) => change(position, { state: "done" }),
    done() {
      phase = "done";
      tell();
    },
  };
}
