// SPDX-License-Identifier: Apache-2.0
import { DEFAULT_PATH } from "../lib/executable.ts";
import { MACHINE_CODE } from "../linux/machine-code.ts";
import { digestOf } from "../oci/digest.ts";
import type { Platform } from "../oci/manifest.ts";
import { TAR_END, tarHeader, tarPadding } from "./tar-writer.ts";

const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const USER = "65535:65535";

const PROGRAMS: ReadonlyMap<string, Uint8Array> = new Map([
  ["amd64", MACHINE_CODE.x86_64.PAUSE_ELF],
  ["arm64", MACHINE_CODE.aarch64.PAUSE_ELF],
]);

/** The pause as an image for one platform: its blobs, each of which is named by its digest. */
export interface PauseImage {
  readonly layer: Uint8Array;
  readonly config: Uint8Array;
  readonly manifest: Uint8Array;
}

/** Where the pause is there for the machine: `amd64` and `arm64`, as Go spells them. */
export const PAUSE_ARCHITECTURES: readonly string[] = [...PROGRAMS.keys()];

/** The same bytes, hence the same digests, on every machine. A platform that has no pause is a RangeError. */
export function pauseImage({ os, architecture }: Platform): PauseImage {
  const program = PROGRAMS.get(architecture);
  if (os !== "linux" || program === undefined) throw new RangeError(`no pause for ${os}/${architecture}`);
  const layer = tarOf(new Map([["pause", { content: program, mode: 0o755 }]]));
  const config = json({
    created: "1970-01-01T00:00:00Z",
    architecture,
    os,
    config: { User: USER, Env: [`PATH=${DEFAULT_PATH}`], Entrypoint: ["/pause"], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: describe("application/vnd.oci.image.config.v1+json", config),
    layers: [describe("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  return { layer, config, manifest };
}

/**
 * An OCI archive (image-spec, image-layout.md) of the pause for every architecture it is there for, under `name`,
 * which is a whole reference. The same bytes for the same name.
 */
export function pauseArchive(name: string): Uint8Array {
  const images = PAUSE_ARCHITECTURES.map((architecture) => ({
    platform: { architecture, os: "linux" },
    image: pauseImage({ os: "linux", architecture }),
  }));
  const index = json({
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests: images.map(({ platform, image }) => ({
      ...describe(MANIFEST_TYPE, image.manifest),
      platform,
    })),
  });
  const layout = json({
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests: [
      {
        ...describe(INDEX_TYPE, index),
        // The first is the specification's; containerd takes a whole name from the second alone.
        annotations: { "org.opencontainers.image.ref.name": name, "io.containerd.image.name": name },
      },
    ],
  });
  const blobs = [index, ...images.flatMap(({ image }) => [image.manifest, image.config, image.layer])];
  return tarOf(
    new Map([
      ["oci-layout", { content: json({ imageLayoutVersion: "1.0.0" }), mode: 0o644 }],
      ["index.json", { content: layout, mode: 0o644 }],
      ...blobs.map(
        (blob) => [`blobs/${digestOf(blob).replace(":", "/")}`, { content: blob, mode: 0o644 }] as const,
      ),
    ]),
  );
}

type TarFile = { readonly content: Uint8Array; readonly mode: number };

/** An archive of files of root's, dated 1970. */
function tarOf(files: ReadonlyMap<string, TarFile>): Uint8Array {
  const members = [...files].flatMap(([path, { content, mode }]) => {
    const header = tarHeader({
      path,
      type: "file",
      linkPath: "",
      mode,
      uid: 0,
      gid: 0,
      sizeBytes: content.length,
      mtimeSeconds: 0,
      mtimeNanoseconds: 0,
      deviceMajor: 0,
      deviceMinor: 0,
      xattrs: new Map(),
    });
    return [header, content, new Uint8Array(tarPadding(content.length))];
  });
  return Buffer.concat([...members, TAR_END]);
}

function describe(mediaType: string, blob: Uint8Array) {
  return { mediaType, digest: digestOf(blob), size: blob.length };
}

function json(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
