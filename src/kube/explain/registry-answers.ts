// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import { messageOf } from "../../errors.ts";
import { fingerprintOf, type RegistryAuth } from "../../image/registry-auth.ts";
import { timeLimit } from "../../lib/deadline.ts";
import { parseReference, repositoryOf } from "../../oci/reference.ts";
import { allContainers } from "../container-order.ts";
import type { Pod } from "../pod.ts";
import { imagesOf, pullPolicy, type WantedImage } from "../pod-images.ts";
import { pullAuth } from "../pull-secret.ts";

/** What the registry of an image that would be pulled says of it now. */
export type RegistryAnswer =
  | {
      readonly digest: string;
      /** Beyond what is here already. */
      readonly downloadBytes: number;
      /** What is here under the name is just this. */
      readonly isSame: boolean;
    }
  /** Why it says nothing. */
  | { readonly problem: string };

/** By the image that a container or volume of a pod wants; undefined for one that nobody was asked about. */
export type RegistryAnswers = (pod: Pod, wanted: WantedImage) => RegistryAnswer | undefined;

export const NOBODY_ASKED: RegistryAnswers = () => undefined;

/** For all images together: who explains a manifest has not asked for a pull. */
const ANSWERS_LIMIT_MS = 10_000;
const MAX_IMAGES = 50;
const ASKED_AT_A_TIME = 4;

/** Asks the registries for the images that a run of these pods would pull, each once; pulls nothing. */
export async function askRegistries(
  { images }: Pick<Runtime, "images">,
  pods: readonly Pod[],
  signal: AbortSignal,
): Promise<RegistryAnswers> {
  const asked = new Map<string, { readonly reference: string; readonly auth: RegistryAuth | undefined }>();
  for (const pod of pods) {
    for (const wanted of wantedBy(pod)) {
      const policy = pullPolicy(wanted);
      const isHere = images.find(wanted.reference) !== undefined;
      if (policy === "Never" || (policy === "IfNotPresent" && isHere)) continue;
      asked.set(keyOf(pod, wanted), { reference: wanted.reference, auth: pullAuth(pod, wanted.reference) });
    }
  }
  using limit = timeLimit(signal, ANSWERS_LIMIT_MS, "asking the registries");
  const answers = new Map<string, RegistryAnswer>();
  const queue = [...asked].slice(0, MAX_IMAGES);
  for (const [key] of [...asked].slice(MAX_IMAGES)) {
    answers.set(key, { problem: `not asked for: only the first ${MAX_IMAGES} images are` });
  }
  const askInTurn = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [key, { reference, auth }] = next;
      answers.set(key, await answerTo(images, reference, auth, limit.signal));
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_A_TIME }, askInTurn));
  signal.throwIfAborted();
  return (pod, wanted) => answers.get(keyOf(pod, wanted));
}

async function answerTo(
  images: Runtime["images"],
  reference: string,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
): Promise<RegistryAnswer> {
  try {
    const { digest, downloadBytes } = await images.preview(reference, { auth, signal });
    const name = `${repositoryOf(parseReference(reference))}@${digest}`;
    return { digest, downloadBytes, isSame: images.find(reference)?.repoDigests.includes(name) ?? false };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

/** Those of containers, and those that are volumes of theirs. */
export function wantedBy({ spec }: Pod): WantedImage[] {
  const all = allContainers(spec).flatMap((container) => imagesOf(container, spec));
  return [...new Map(all.map((wanted) => [wanted.user, wanted])).values()];
}

function keyOf(pod: Pod, { reference }: WantedImage): string {
  return `${reference} ${fingerprintOf(pullAuth(pod, reference))}`;
}
