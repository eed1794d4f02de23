// SPDX-License-Identifier: Apache-2.0
import { digestOf } from "../oci/digest.ts";
import { hostPlatform } from "../oci/manifest.ts";
import type { ContentStore } from "./content-store.ts";
import type { Images } from "./images.ts";
import { pauseImage } from "./pause-image.ts";

/** The embedded pause as an image, under a name that no registry has. */
export const BUILT_IN_PAUSE = "localhost/podrt/pause:built-in";

/** What tools that know of a pause image ask for; an image that was really pulled by such a name keeps it. */
const KUBERNETES_NAMES = ["3.10", "3.10.1", "3.10.2"].map((tag) => `registry.k8s.io/pause:${tag}`);

/**
 * Puts the embedded pause among the images, unless it is there: a kubelet or kubeadm asks for its pause image, and
 * a container can be made from it as from any other. Pods do not need it: their pause comes from the program itself.
 */
export async function addBuiltInPause(images: Images, content: ContentStore): Promise<void> {
  const { layer, config, manifest } = pauseImage(hostPlatform());
  const id = digestOf(config);
  const former = images.find(BUILT_IN_PAUSE);
  const isFree = (name: string) => [undefined, former].includes(images.find(name));
  const names = [BUILT_IN_PAUSE, ...KUBERNETES_NAMES.filter(isFree)];
  if (former?.id === id && names.every((name) => former.repoTags.includes(name))) return;
  await images.hold(async () => {
    for (const blob of [layer, config, manifest])
      await content.ingest(once(blob), { digest: digestOf(blob) });
    const manifestDigest = digestOf(manifest);
    await images.commit(manifestDigest, {
      repoTags: names,
      repoDigests: [BUILT_IN_PAUSE.replace(/:[^:]*$/, `@${manifestDigest}`)],
    });
  });
  // That of another version of podrt has no names left.
  if (former !== undefined && former.id !== id) await images.remove(former.id);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
