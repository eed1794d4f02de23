// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { FailedPreconditionError, NotFoundError, UnimplementedError } from "../errors.ts";
import { printable } from "../lib/foreign-text.ts";
import { ARCHITECTURE, type Architecture, goName } from "../linux/architecture.ts";
import { isDigest } from "./digest.ts";

/** A manifest or index larger than this is refused. */
export const MANIFEST_LIMIT_BYTES = 4 * 2 ** 20;
const DESCRIPTORS_LIMIT = 1024;
/** What images have in earnest is a tenth of it. */
const DEPTH_LIMIT = 64;
const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];

export const INDEX_TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
] as const;
export const MANIFEST_TYPES = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
] as const;
const CONFIG_TYPES: readonly string[] = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
/** Foreign and non-distributable layers count too, where the registry itself has them: their URLs are ignored. */
const LAYER_TYPE =
  /^application\/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs(\.foreign)?\.diff\.tar(\.gzip|\.zstd)?)$/;
const SCHEMA_1_TYPE = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/;

const shortText = v.pipe(v.string(), v.maxLength(255));
const descriptorSchema = v.object({
  mediaType: shortText,
  digest: v.pipe(v.string(), v.check(isDigest, "is no digest")),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  platform: v.optional(
    v.object({ architecture: shortText, os: shortText, variant: v.optional(shortText, "") }),
  ),
});
const descriptors = v.pipe(v.array(descriptorSchema), v.maxLength(DESCRIPTORS_LIMIT));
const documentSchema = v.object({
  schemaVersion: v.literal(2, "is not 2"),
  mediaType: v.optional(shortText),
  manifests: v.optional(descriptors),
  config: v.optional(descriptorSchema),
  layers: v.optional(descriptors),
});

/** Names content by digest, size and type (image-spec, descriptor.md). */
export type Descriptor = Readonly<v.InferOutput<typeof descriptorSchema>>;

export interface ImageManifest {
  readonly kind: "manifest";
  readonly mediaType: string;
  readonly config: Descriptor;
  /** Bottom first. */
  readonly layers: readonly Descriptor[];
}

export interface ImageIndex {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
}

export interface Platform {
  readonly os: string;
  /** As Go spells it: `amd64`, `arm64`. */
  readonly architecture: string;
}

/** The platform podrt itself runs on. */
export function hostPlatform(architecture: Architecture = ARCHITECTURE): Platform {
  return { os: "linux", architecture: goName(architecture) };
}

/**
 * Reads a manifest or an index, OCI or Docker. `announcedType` is what the registry or a descriptor
 * said it is; a document that is something else, or two things at once, is refused with
 * FailedPreconditionError, so that no two readers can see different images in the same bytes.
 * Docker's schema 1 is an UnimplementedError.
 */
export function parseManifest(bytes: Uint8Array, announcedType?: string): ImageManifest | ImageIndex {
  const json = parseJson(bytes, "the manifest");
  refuseSchema1(json, announcedType);
  const result = v.safeParse(documentSchema, json, { abortEarly: true });
  if (!result.success) throw malformed(problemOf(result.issues[0]));
  const { mediaType: ownType, manifests, config, layers } = result.output;
  const known = announcedType !== undefined && isManifestType(announcedType) ? announcedType : undefined;
  if (ownType !== undefined && known !== undefined && ownType !== known) {
    throw malformed(`it calls itself ${ownType} but was announced as ${known}`);
  }
  if (manifests !== undefined && (layers !== undefined || config !== undefined)) {
    throw malformed("it is both an index (manifests) and an image (config, layers)");
  }
  const type = ownType ?? known;
  if (manifests !== undefined) {
    const mediaType = type ?? INDEX_TYPES[0];
    if (!includes(INDEX_TYPES, mediaType))
      throw malformed(`it lists manifests but calls itself ${mediaType}`);
    return { kind: "index", mediaType, manifests };
  }
  if (layers === undefined || config === undefined)
    throw malformed("it has neither manifests nor config and layers");
  const mediaType = type ?? MANIFEST_TYPES[0];
  if (!includes(MANIFEST_TYPES, mediaType)) throw malformed(`it lists layers but calls itself ${mediaType}`);
  refuseOtherArtifacts(config, layers);
  return { kind: "manifest", mediaType, config, layers };
}

/**
 * The entry of an index for `platform`; NotFoundError that lists what is offered when there is none.
 * An entry without a variant comes before one with, and a lone entry that names no platform counts:
 * the image's configuration is compared with the platform anyway.
 */
export function selectManifest(index: ImageIndex, platform: Platform): Descriptor {
  const usable = index.manifests.filter(({ mediaType }) => isManifestType(mediaType));
  const matching = usable
    .filter(({ platform: p }) => p?.os === platform.os && p.architecture === platform.architecture)
    .sort((a, b) => variantRank(a) - variantRank(b));
  const only = usable.length === 1 && usable[0]?.platform === undefined ? usable[0] : undefined;
  const chosen = matching[0] ?? only;
  if (chosen !== undefined) return chosen;
  const offered = usable.flatMap(({ platform: p }) =>
    p === undefined ? [] : [[p.os, p.architecture, p.variant].filter(Boolean).join("/")],
  );
  throw new NotFoundError(
    `the image has no variant for ${platform.os}/${platform.architecture} (it offers ${printable(listed(offered), 300)})`,
  );
}

/** Parses bounded JSON from an image; FailedPreconditionError where it is none, or nested beyond any use. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  if (isDeep(bytes)) {
    throw new FailedPreconditionError(`${what} is JSON nested deeper than ${DEPTH_LIMIT} levels`);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new FailedPreconditionError(`${what} is not JSON`, { cause: error });
  }
}

/** Whether arrays and objects lie in each other beyond the limit, where whoever walks them runs out of stack. */
function isDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let isInText = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (byte === QUOTE) isInText = !isInText;
    else if (isInText) index += Number(byte === BACKSLASH);
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      if (++depth > DEPTH_LIMIT) return true;
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--;
  }
  return false;
}

/** The path and nature of a schema issue; values and keys come from the image, so it is cut and made printable. */
export function problemOf(issue: v.BaseIssue<unknown>): string {
  return printable(`${v.getDotPath(issue) ?? "document"} ${issue.message}`, 200);
}

/** Baseline first: `v1` and `v8` are what every amd64 and arm64 machine has. */
function variantRank({ platform }: Descriptor): number {
  const variant = platform?.variant ?? "";
  return variant === "" ? 0 : variant === "v1" || variant === "v8" ? 1 : 2;
}

function refuseSchema1(json: unknown, announcedType: string | undefined): void {
  const { schemaVersion, mediaType } = (json ?? {}) as { schemaVersion?: unknown; mediaType?: unknown };
  const types = [announcedType, mediaType].filter((type) => typeof type === "string");
  if (schemaVersion === 1 || types.some((type) => SCHEMA_1_TYPE.test(type))) {
    throw new UnimplementedError(
      "the registry has the image only as a Docker schema 1 manifest, which podrt does not read; push it again with a current tool",
    );
  }
}

/** Helm charts, signatures and the like share the manifest format but are no root file system. */
function refuseOtherArtifacts(config: Descriptor, layers: readonly Descriptor[]): void {
  if (!CONFIG_TYPES.includes(config.mediaType)) {
    throw malformed(`its config is ${config.mediaType}: an artifact, not a container image`);
  }
  const other = layers.find(({ mediaType }) => !LAYER_TYPE.test(mediaType));
  if (other !== undefined) throw malformed(`layer ${other.digest} is of an unknown type ${other.mediaType}`);
}

function isManifestType(mediaType: string): boolean {
  return includes(INDEX_TYPES, mediaType) || includes(MANIFEST_TYPES, mediaType);
}

function includes(list: readonly string[], value: string): boolean {
  return list.includes(value);
}

function listed(names: readonly string[]): string {
  const distinct = [...new Set(names)];
  return distinct.length === 0 ? "none" : distinct.slice(0, 20).join(", ");
}

function malformed(problem: string): FailedPreconditionError {
  return new FailedPreconditionError(`the manifest is invalid: ${printable(problem, 500)}`);
}
