// SPDX-License-Identifier: Apache-2.0
import type { ContainerSpec } from "./container-fields.ts";
import type { PodSpec } from "./fields.ts";
import type { ProjectionSpec, VolumeSpec } from "./volume-fields.ts";

export type ObjectKind = "ConfigMap" | "Secret" | "PersistentVolumeClaim";

/** A place in a pod's spec that names an object beside the pod. */
export interface Reference {
  readonly kind: ObjectKind;
  readonly name: string;
  /** The keys of it that are asked for; empty where all are. */
  readonly keys: readonly string[];
  /** What is missing is left out. */
  readonly optional: boolean;
  /** Of the field that has the name. */
  readonly path: string;
}

export function referencesOf(spec: PodSpec): Reference[] {
  return [
    ...(["initContainers", "containers"] as const).flatMap((field) =>
      (spec[field] ?? []).flatMap((container, index) => ofEnvironment(container, `spec.${field}[${index}]`)),
    ),
    ...(spec.volumes ?? []).flatMap((volume, index) => ofVolume(volume, `spec.volumes[${index}]`)),
    ...(spec.imagePullSecrets ?? []).map(({ name }, index): Reference => {
      const path = `spec.imagePullSecrets[${index}].name`;
      return { kind: "Secret", name, keys: [], optional: false, path };
    }),
  ];
}

function ofEnvironment({ envFrom, env }: ContainerSpec, path: string): Reference[] {
  const whole = (envFrom ?? []).flatMap(({ configMapRef, secretRef }, index) => [
    ...reference("ConfigMap", configMapRef, `${path}.envFrom[${index}].configMapRef`),
    ...reference("Secret", secretRef, `${path}.envFrom[${index}].secretRef`),
  ]);
  const single = (env ?? []).flatMap(({ valueFrom }, index) => {
    const at = `${path}.env[${index}].valueFrom`;
    return [
      ...reference("ConfigMap", valueFrom?.configMapKeyRef, `${at}.configMapKeyRef`),
      ...reference("Secret", valueFrom?.secretKeyRef, `${at}.secretKeyRef`),
    ];
  });
  return [...whole, ...single];
}

function ofVolume(volume: VolumeSpec, path: string): Reference[] {
  const { configMap, secret, projected, persistentVolumeClaim: claim } = volume;
  return [
    ...reference("ConfigMap", configMap, `${path}.configMap`),
    ...reference("Secret", secret && { ...secret, name: secret.secretName }, `${path}.secret`, "secretName"),
    ...(projected?.sources ?? []).flatMap((source, index) =>
      ofProjection(source, `${path}.projected.sources[${index}]`),
    ),
    ...reference(
      "PersistentVolumeClaim",
      claim && { name: claim.claimName },
      `${path}.persistentVolumeClaim`,
      "claimName",
    ),
  ];
}

function ofProjection({ configMap, secret }: ProjectionSpec, path: string): Reference[] {
  return [
    ...reference("ConfigMap", configMap, `${path}.configMap`),
    ...reference("Secret", secret, `${path}.secret`),
  ];
}

interface Named {
  readonly name: string;
  readonly key?: string;
  readonly items?: readonly { readonly key: string }[];
  readonly optional?: boolean;
}

function reference(kind: ObjectKind, named: Named | undefined, path: string, field = "name"): Reference[] {
  if (named === undefined) return [];
  const keys = [
    ...(named.key === undefined ? [] : [named.key]),
    ...(named.items ?? []).map(({ key }) => key),
  ];
  return [{ kind, name: named.name, keys, optional: named.optional ?? false, path: `${path}.${field}` }];
}
