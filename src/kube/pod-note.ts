// SPDX-License-Identifier: Apache-2.0

/** Something that became of a kept pod or one of its containers, for who follows events. */
export interface PodNote {
  /**
   * Trouble keeps it from running; waiting is for a restart that is put off; unhealthy is a container that is ended for
   * what a probe or hook said.
   */
  readonly type: "trouble" | "waiting" | "unhealthy" | "ready" | "unready";
  /** Empty for the pod as a whole. */
  readonly container: string;
  /** One word, as in ErrImagePull; empty when there is nothing to say. */
  readonly reason: string;
  readonly message: string;
}
