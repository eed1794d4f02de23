// SPDX-License-Identifier: Apache-2.0
import { PAUSE_ELF } from "../gen/machine-code.ts";
import { DEFAULT_PATH } from "../lib/executable.ts";
import { digestOf } from "../oci/digest.ts";
import { hostPlatform } from "../oci/manifest.ts";
import type { ContentStore } from "./content-store.ts";
import type { Images } from "./images.ts";
import { TAR_BLOCK_BYTES } from "./tar-header.ts";

/** The embedded pause as an image, under a name that no registry has. */
export const BUILT_IN_PAUSE = "localhost/podrt/pause:built-in";

/** What tools that know of a pause image ask for; an image that was really pulled by such a name keeps it. */
const KUBERNETES_NAMES = ["3.10", "3.10.1", "3.10.2"].map((tag) => `registry.k8s.io/pause:${tag}`);

const USER = "65535:65535";

/**
 * Puts the embedded pause among the images, unless it is there: a kubelet or kubeadm asks for its pause image, and
 * a container can be made from it as from any other. Pods do not need it: their pause comes from the program itself.
 */
export async function addBuiltInPause(images: Images, content: ContentStore): Promise<void> {
  const { layer, config, manifest } = pauseImage();
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

/** The three blobs of the image; the same bytes, hence the same digests, on every machine. */
function pauseImage(): { layer: Uint8Array; config: Uint8Array; manifest: Uint8Array } {
  const layer = tarOf("pause", PAUSE_ELF);
  const { os, architecture } = hostPlatform();
  const config = json({
    created: "1970-01-01T00:00:00Z",
    architecture,
    os,
    config: { User: USER, Env: [`PATH=${DEFAULT_PATH}`], Entrypoint: ["/pause"], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  const describe = (mediaType: string, blob: Uint8Array) => ({
    mediaType,
    digest: digestOf(blob),
    size: blob.length,
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: describe("application/vnd.oci.image.config.v1+json", config),
    layers: [describe("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  return { layer, config, manifest };
}

/** An archive of one executable of root's, dated 1970; the offsets are those of POSIX ustar. */
function tarOf(name: string, content: Uint8Array): Uint8Array {
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  const octal = (value: number, offset: number, digits: number) =>
    header.write(value.toString(8).padStart(digits, "0"), offset);
  header.write(name, 0);
  octal(0o755, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(content.length, 124, 11);
  octal(0, 136, 11);
  header.write("0", 156);
  header.write("ustar\x0000", 257);
  // The checksum counts its own field as spaces.
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  octal(sum, 148, 7);
  const padding = Buffer.alloc(-content.length & (TAR_BLOCK_BYTES - 1));
  return Buffer.concat([header, content, padding, Buffer.alloc(2 * TAR_BLOCK_BYTES)]);
}

function json(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
