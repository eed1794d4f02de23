// SPDX-License-Identifier: Apache-2.0
import { parseBytes } from "../../lib/quantity.ts";
import * as names from "./names.ts";
import { boolean, oneOf, only, quantity, string } from "./scalars.ts";
import { list, mapOf, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";

/*
 * Objects that stand beside pods in a manifest and that pods refer to by name. podrt has no store of
 * them: a pod carries along what its manifest gave it.
 */

const BY_KUBERNETES = "has no effect: is set by Kubernetes";
const NO_API_SERVER = "has no effect: there is no API server";
/** As exported objects have it. */
export const status = meaningless("has no effect: is written by Kubernetes");

export const ObjectMeta = record({
  name: string(names.dnsSubdomain),
  generateName: string(names.namePrefix),
  namespace: string(names.dnsLabel),
  uid: string(names.uid),
  labels: mapOf(string(names.labelValue), 256, names.qualifiedName),
  annotations: mapOf(string(), 256, names.qualifiedName),
  creationTimestamp: meaningless(BY_KUBERNETES),
  deletionGracePeriodSeconds: meaningless(BY_KUBERNETES),
  deletionTimestamp: meaningless(BY_KUBERNETES),
  finalizers: meaningless(NO_API_SERVER),
  generation: meaningless(BY_KUBERNETES),
  managedFields: meaningless(BY_KUBERNETES),
  ownerReferences: meaningless(NO_API_SERVER),
  resourceVersion: meaningless(BY_KUBERNETES),
  selfLink: meaningless(BY_KUBERNETES),
});

const MAX_KEYS = 1024;
const base64 = string(names.base64);

export const ConfigMap = record({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("ConfigMap")),
  metadata: required(ObjectMeta),
  data: mapOf(string(names.anyText), MAX_KEYS, names.configKey),
  binaryData: mapOf(base64, MAX_KEYS, names.configKey),
  immutable: boolean(),
});

export const Secret = record({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Secret")),
  metadata: required(ObjectMeta),
  type: string(names.secretType),
  data: mapOf(base64, MAX_KEYS, names.configKey),
  stringData: mapOf(string(names.anyText), MAX_KEYS, names.configKey),
  immutable: boolean(),
});

const NO_PROVISIONER = "has no effect: a claim is a directory of this machine";
const bytes = quantity("a quantity as in 10Gi", parseBytes);

export const PersistentVolumeClaimSpec = record({
  accessModes: list(oneOf("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"), 4),
  resources: record({
    requests: record({ storage: bytes }),
    limits: record({ storage: unsupported("is not supported: a directory has no limit of its own") }),
  }),
  volumeMode: only("Filesystem"),
  storageClassName: meaningless(NO_PROVISIONER),
  volumeName: meaningless(NO_PROVISIONER),
  selector: meaningless(NO_PROVISIONER),
  volumeAttributesClassName: meaningless(NO_PROVISIONER),
  dataSource: unsupported(),
  dataSourceRef: unsupported(),
});

export const PersistentVolumeClaim = record({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("PersistentVolumeClaim")),
  metadata: required(ObjectMeta),
  spec: required(PersistentVolumeClaimSpec),
  status,
});

export const OBJECT_FIELDS = {
  ObjectMeta,
  ConfigMap,
  Secret,
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
} as const;

export type ObjectMetaFields = TypeOf<typeof ObjectMeta>;
export type ConfigMapManifest = TypeOf<typeof ConfigMap>;
export type SecretManifest = TypeOf<typeof Secret>;
