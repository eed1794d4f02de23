// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import { parseReference } from "../oci/reference.ts";
import type { ImageView, Lifecycle } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/fields.ts";

/** What became of the wish for a container's image. */
export type ImageAnswer =
  | { readonly kind: "ready"; readonly image: ImageView }
  | { readonly kind: "pulling" }
  | { readonly kind: "failed"; readonly reason: string; readonly message: string };

/** The images of one pod's containers: pulls run beside everything else and call back when done. */
export interface PodImages {
  /** The image for one attempt of a container, by its pull policy. A failure is told once, then retried. */
  request(container: ContainerSpec, attempt: number): Promise<ImageAnswer>;
}

/** Always for `latest` and for no tag, else IfNotPresent; a digest cannot change, so it is never `latest`. */
function pullPolicy({ image, imagePullPolicy }: ContainerSpec): "Always" | "IfNotPresent" | "Never" {
  return imagePullPolicy ?? (parseReference(image).tag === "latest" ? "Always" : "IfNotPresent");
}

type Pull =
  | { readonly kind: "pulling" }
  | { readonly kind: "done"; readonly attempt: number }
  | { readonly kind: "failed"; readonly message: string };

export function podImages(
  lifecycle: Pick<Lifecycle, "findImage" | "pullImage">,
  signal: AbortSignal,
  onSettled: () => void,
): PodImages {
  const pulls = new Map<string, Pull>();
  const pull = async (container: ContainerSpec, attempt: number): Promise<void> => {
    try {
      await lifecycle.pullImage(container.image, signal);
      pulls.set(container.name, { kind: "done", attempt });
    } catch (error) {
      pulls.set(container.name, { kind: "failed", message: messageOf(error) });
    }
    onSettled();
  };
  const request = async (container: ContainerSpec, attempt: number): Promise<ImageAnswer> => {
    const { name, image: reference } = container;
    const earlier = pulls.get(name);
    if (earlier?.kind === "pulling") return { kind: "pulling" };
    if (earlier?.kind === "failed") {
      pulls.delete(name);
      return { kind: "failed", reason: "ErrImagePull", message: earlier.message };
    }
    const policy = pullPolicy(container);
    const isPulled = earlier?.kind === "done" && earlier.attempt === attempt;
    if (policy !== "Always" || isPulled) {
      const image = await lifecycle.findImage(reference);
      if (image !== undefined) return { kind: "ready", image };
      if (policy === "Never") {
        const message = `image ${reference} is not present and imagePullPolicy is Never`;
        return { kind: "failed", reason: "ErrImageNeverPull", message };
      }
    }
    pulls.set(name, { kind: "pulling" });
    void pull(container, attempt);
    return { kind: "pulling" };
  };
  return { request };
}

/** Why an image may not run under runAsNonRoot; undefined when it may. */
export function rootRefusal(
  container: ContainerSpec,
  pod: RunAs | undefined,
  user: string,
): string | undefined {
  const wanted = { ...pod, ...container.securityContext };
  if (!wanted.runAsNonRoot || wanted.runAsUser !== undefined) return undefined;
  const name = user.split(":")[0]!;
  if (name === "" || /^0+$/.test(name)) {
    return "runAsNonRoot is set and the image runs as root; set runAsUser";
  }
  if (/^\d+$/.test(name)) return undefined;
  return `runAsNonRoot is set and whether the image's user ${name} is root cannot be told; set runAsUser`;
}

interface RunAs {
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
}
