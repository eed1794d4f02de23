// SPDX-License-Identifier: Apache-2.0
import type { VolumeFile } from "./atomic-directory.ts";
import { allContainers } from "./container-order.ts";
import { type Contents, NO_OBJECTS } from "./manifest/objects.ts";
import type {
  DownwardFileSpec,
  KeyToPathSpec,
  ProjectionSpec,
  VolumeSpec,
} from "./manifest/volume-fields.ts";
import type { Pod, PodHome } from "./pod.ts";
import { fieldValue, resourceValue } from "./values.ts";

const DEFAULT_MODE = 0o644;

/** The files of a volume that shows objects or fields of the pod, by path; undefined for other volumes. */
export function volumeFiles(
  pod: Pod,
  { configMap, secret, downwardAPI, projected }: VolumeSpec,
  home: PodHome,
): Map<string, VolumeFile> | undefined {
  const { configMaps, secrets } = pod.objects ?? NO_OBJECTS;
  if (configMap !== undefined) {
    return keyFiles(configMaps[configMap.name], configMap.items, configMap.defaultMode);
  }
  if (secret !== undefined) return keyFiles(secrets[secret.secretName], secret.items, secret.defaultMode);
  if (downwardAPI !== undefined) {
    return downwardFiles(pod, downwardAPI.items ?? [], downwardAPI.defaultMode, home);
  }
  if (projected === undefined) return undefined;
  // Where two sources have a file of one path, the later one's is seen.
  return new Map(
    projected.sources.flatMap((source) => [...projectedFiles(pod, source, projected.defaultMode, home)]),
  );
}

function projectedFiles(
  pod: Pod,
  { configMap, secret, downwardAPI }: ProjectionSpec,
  defaultMode: number | undefined,
  home: PodHome,
): Map<string, VolumeFile> {
  const { configMaps, secrets } = pod.objects ?? NO_OBJECTS;
  if (configMap !== undefined) return keyFiles(configMaps[configMap.name], configMap.items, defaultMode);
  if (secret !== undefined) return keyFiles(secrets[secret.name], secret.items, defaultMode);
  return downwardFiles(pod, downwardAPI?.items ?? [], defaultMode, home);
}

/** All keys, each a file of its name, or those that are asked for; a missing one is left out. */
function keyFiles(
  contents: Contents | undefined,
  items: readonly KeyToPathSpec[] | undefined,
  defaultMode = DEFAULT_MODE,
): Map<string, VolumeFile> {
  const wanted: readonly KeyToPathSpec[] =
    items ?? Object.keys(contents ?? {}).map((key) => ({ key, path: key }));
  return new Map(
    wanted.flatMap(({ key, path, mode = defaultMode }) =>
      contents !== undefined && Object.hasOwn(contents, key)
        ? [[path, { bytes: Buffer.from(contents[key]!, "base64"), mode }]]
        : [],
    ),
  );
}

function downwardFiles(
  pod: Pod,
  items: readonly DownwardFileSpec[],
  defaultMode = DEFAULT_MODE,
  home: PodHome,
): Map<string, VolumeFile> {
  return new Map(
    items.map((item) => {
      const text =
        item.fieldRef === undefined
          ? amount(pod, item, home)
          : fieldValue(item.fieldRef, pod, home, undefined);
      return [item.path, { bytes: Buffer.from(text, "utf8"), mode: item.mode ?? defaultMode }];
    }),
  );
}

function amount(pod: Pod, { resourceFieldRef }: DownwardFileSpec, home: PodHome): string {
  const container = allContainers(pod.spec).find(({ name }) => name === resourceFieldRef!.containerName);
  return resourceValue(resourceFieldRef!, container!, pod.spec, home);
}
