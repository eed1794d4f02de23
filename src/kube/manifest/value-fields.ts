// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../../errors.ts";
import { parseReference } from "../../oci/reference.ts";
import * as names from "./names.ts";
import { boolean, oneOf, string } from "./scalars.ts";
import { record, required, type TypeOf, unsupported } from "./schema.ts";

/** What a value may be taken from: an object beside the pod, or the pod itself. */

const KeySelector = record({
  name: required(string(names.dnsSubdomain)),
  key: required(string(names.configKey)),
  optional: boolean(),
});

export const FieldRef = record({
  apiVersion: oneOf("v1"),
  fieldPath: required(string(names.fieldPath)),
});

export const ResourceFieldRef = record({
  containerName: string(names.dnsLabel),
  resource: required(
    oneOf(
      "limits.cpu",
      "limits.memory",
      "requests.cpu",
      "requests.memory",
      "limits.hugepages-2Mi",
      "limits.hugepages-1Gi",
      "requests.hugepages-2Mi",
      "requests.hugepages-1Gi",
    ),
  ),
  /** Kubernetes's own list (core/v1 validation): amounts are told in units of it, rounded up. */
  divisor: string(names.divisor, { numbersToo: true }),
});

const EnvVarSource = record({
  configMapKeyRef: KeySelector,
  secretKeyRef: KeySelector,
  fieldRef: FieldRef,
  resourceFieldRef: ResourceFieldRef,
  fileKeyRef: unsupported(),
});

export const EnvVar = record({
  name: required(string(names.environmentName)),
  value: string(),
  valueFrom: EnvVarSource,
});

const EnvSource = record({ name: required(string(names.dnsSubdomain)), optional: boolean() });

export const EnvFromSource = record({
  prefix: string(names.environmentName),
  configMapRef: EnvSource,
  secretRef: EnvSource,
});

/** The host's part of a reference may be left out, as everywhere. */
export const imageReference = string((text) => {
  try {
    parseReference(text, "");
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
});

export const VALUE_FIELDS = {
  EnvVar,
  EnvVarSource,
  EnvFromSource,
  KeySelector,
  FieldRef,
  ResourceFieldRef,
} as const;

export type EnvVarSpec = TypeOf<typeof EnvVar>;
export type EnvFromSpec = TypeOf<typeof EnvFromSource>;
export type FieldRefSpec = TypeOf<typeof FieldRef>;
export type ResourceFieldRefSpec = TypeOf<typeof ResourceFieldRef>;
