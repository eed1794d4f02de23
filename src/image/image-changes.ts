// SPDX-License-Identifier: Apache-2.0

/** Something has become of an image, or was to. */
export interface ImageChange {
  /** Lost: it is out of sight, for what is missing on disk. Failed: it could not be pulled. */
  readonly type: "pulled" | "imported" | "removed" | "lost" | "failed";
  /** Image.id; empty where nothing came of a pull. */
  readonly id: string;
  /** A tag, a repository digest, or the id. */
  readonly name: string;
  /** The kind of the error that a pull failed with. */
  readonly reason?: string;
  readonly message?: string;
}

export interface ImageChanges {
  announce(change: ImageChange): void;
  /** Calls `listener`, which must not throw, for each change from now on; the answer ends that. */
  subscribe(listener: (change: ImageChange) => void): () => void;
}

export function newImageChanges(): ImageChanges {
  const listeners = new Set<(change: ImageChange) => void>();
  return {
    announce(change) {
      for (const listener of listeners) listener(change);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
