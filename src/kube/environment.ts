// SPDX-License-Identifier: Apache-2.0
import { allContainers } from "./container-order.ts";
import { expand } from "./expand.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import { type Contents, NO_OBJECTS } from "./manifest/objects.ts";
import type { EnvVarSpec } from "./manifest/value-fields.ts";
import type { Pod, PodHome } from "./pod.ts";
import { fieldValue, type PodPlace, resourceValue } from "./values.ts";

/**
 * The variables of a container: those of `envFrom` first, each list in its order, then those of `env`,
 * where a value may name variables before it. What comes later takes the place of what came before.
 */
export function containerEnvironment(
  pod: Pod,
  container: ContainerSpec,
  home: PodHome,
  place: PodPlace,
): Map<string, string> {
  const { configMaps, secrets } = pod.objects ?? NO_OBJECTS;
  const variables = new Map<string, string>();
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const contents = configMapRef === undefined ? secrets[secretRef!.name] : configMaps[configMapRef.name];
    for (const [key, value] of Object.entries(contents ?? {})) variables.set(prefix + key, decoded(value));
  }
  for (const variable of container.env ?? []) {
    const { name, value = "", valueFrom } = variable;
    // What is taken from somewhere is taken as it is: a `$` in a password is no reference.
    const text =
      valueFrom === undefined ? expand(value, variables) : takenFrom(valueFrom, pod, container, home, place);
    // An optional one that is missing is not set at all.
    if (text !== undefined) variables.set(name, text);
  }
  return variables;
}

function takenFrom(
  { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef }: NonNullable<EnvVarSpec["valueFrom"]>,
  pod: Pod,
  container: ContainerSpec,
  home: PodHome,
  place: PodPlace,
): string | undefined {
  const { configMaps, secrets } = pod.objects ?? NO_OBJECTS;
  if (configMapKeyRef !== undefined) return keyOf(configMaps[configMapKeyRef.name], configMapKeyRef.key);
  if (secretKeyRef !== undefined) return keyOf(secrets[secretKeyRef.name], secretKeyRef.key);
  if (fieldRef !== undefined) return fieldValue(fieldRef, pod, home, place);
  const { containerName = container.name } = resourceFieldRef!;
  const measured = allContainers(pod.spec).find(({ name }) => name === containerName);
  return resourceValue(resourceFieldRef!, measured ?? container, pod.spec, home);
}

function keyOf(contents: Contents | undefined, key: string): string | undefined {
  const value = contents !== undefined && Object.hasOwn(contents, key) ? contents[key] : undefined;
  return value === undefined ? undefined : decoded(value);
}

function decoded(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}
