// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import type { RegistryAuth } from "../image/registry-auth.ts";
import { parseReference } from "../oci/reference.ts";
import type { ImageView, Lifecycle } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";

/** What became of the wish for a container's image. */
export type ImageAnswer =
  | { readonly kind: "ready"; readonly image: ImageView }
  | { readonly kind: "pulling" }
  | { readonly kind: "failed"; readonly reason: string; readonly message: string };

/** An image that a container or a volume is made of. */
export interface WantedImage {
  /** Tells apart what asks for images: a container by its name, a volume as `volume NAME`. */
  readonly user: string;
  readonly reference: string;
  readonly policy: PullPolicy | undefined;
}

type PullPolicy = "Always" | "IfNotPresent" | "Never";

/** The images of one pod: pulls run beside everything else and call back when done. */
export interface PodImages {
  /** The image for one attempt of its user, by its pull policy. A failure is told once, then retried. */
  request(wanted: WantedImage, attempt: number): Promise<ImageAnswer>;
}

/** Always for `latest` and for no tag, else IfNotPresent; a digest cannot change, so it is never `latest`. */
export function pullPolicy({ reference, policy }: Pick<WantedImage, "reference" | "policy">): PullPolicy {
  return policy ?? (parseReference(reference).tag === "latest" ? "Always" : "IfNotPresent");
}

/** What must be present before a container is made: its own image, then those that are its volumes. */
export function imagesOf(container: ContainerSpec, { volumes = [] }: PodSpec): WantedImage[] {
  const mounted = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  const { name, image, imagePullPolicy } = container;
  return [
    { user: name, reference: image, policy: imagePullPolicy },
    ...volumes.flatMap((volume) =>
      volume.image === undefined || !mounted.has(volume.name)
        ? []
        : [
            {
              user: `volume ${volume.name}`,
              reference: volume.image.reference,
              policy: volume.image.pullPolicy,
            },
          ],
    ),
  ];
}

type Pull =
  | { readonly kind: "pulling" }
  | { readonly kind: "done"; readonly attempt: number }
  | { readonly kind: "failed"; readonly message: string };

export function podImages(
  lifecycle: Pick<Lifecycle, "findImage" | "pullImage">,
  authFor: (reference: string) => RegistryAuth | undefined,
  signal: AbortSignal,
  onSettled: () => void,
): PodImages {
  const pulls = new Map<string, Pull>();
  const pull = async ({ user, reference }: WantedImage, attempt: number): Promise<void> => {
    try {
      await lifecycle.pullImage(reference, authFor(reference), signal);
      pulls.set(user, { kind: "done", attempt });
    } catch (error) {
      pulls.set(user, { kind: "failed", message: messageOf(error) });
    }
    onSettled();
  };
  const request = async (wanted: WantedImage, attempt: number): Promise<ImageAnswer> => {
    const { user, reference } = wanted;
    const earlier = pulls.get(user);
    if (earlier?.kind === "pulling") return { kind: "pulling" };
    if (earlier?.kind === "failed") {
      pulls.delete(user);
      return { kind: "failed", reason: "ErrImagePull", message: earlier.message };
    }
    const policy = pullPolicy(wanted);
    const isPulled = earlier?.kind === "done" && earlier.attempt === attempt;
    if (policy !== "Always" || isPulled) {
      const image = await lifecycle.findImage(reference);
      if (image !== undefined) return { kind: "ready", image };
      if (policy === "Never") {
        const message = `image ${reference} is not present and its pull policy is Never`;
        return { kind: "failed", reason: "ErrImageNeverPull", message };
      }
    }
    pulls.set(user, { kind: "pulling" });
    void pull(wanted, attempt);
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
