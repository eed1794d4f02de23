// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import type { ContainerSpec } from "./manifest/container-fields.ts";

/** Where a container has the ports of its manifest, as kubelets note them: a JSON list of ContainerPort (core/v1). */
const ANNOTATION = "io.kubernetes.container.ports";

/** A port with the name by which others speak of it. */
export interface NamedPort {
  readonly name: string;
  readonly number: number;
  readonly protocol: string;
}

/** The annotation about these ports; none where there are none. */
export function portsAnnotation(ports: ContainerSpec["ports"] = []): Record<string, string> {
  if (ports.length === 0) return {};
  return { [ANNOTATION]: JSON.stringify(ports.map((port) => ({ protocol: "TCP", ...port }))) };
}

// Whoever made the container has written it.
const schema = v.pipe(
  v.string(),
  v.parseJson(),
  v.array(
    v.object({ name: v.optional(v.string()), containerPort: v.number(), protocol: v.optional(v.string()) }),
  ),
);

/** The ports that have a name, of a container with such annotations. */
export function namedPorts(annotations: Readonly<Record<string, string>>): NamedPort[] {
  const { success, output } = v.safeParse(schema, annotations[ANNOTATION]);
  if (!success) return [];
  return output.flatMap(({ name, containerPort, protocol = "TCP" }) =>
    name === undefined ? [] : [{ name, number: containerPort, protocol }],
  );
}
