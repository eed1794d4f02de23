// SPDX-License-Identifier: Apache-2.0
import { parseBytes } from "../../lib/quantity.ts";
import * as names from "./names.ts";
import { boolean, fileMode, oneOf, quantity, string } from "./scalars.ts";
import { list, record, required, type TypeOf, unsupported } from "./schema.ts";
import { FieldRef, imageReference, ResourceFieldRef } from "./value-fields.ts";

const MAX_FILES = 1024;
const mode = fileMode();

const KeyToPath = record({
  key: required(string(names.configKey)),
  path: required(string(names.fileBelow)),
  mode,
});

const files = list(KeyToPath, MAX_FILES);

const ConfigMapProjection = record({
  name: required(string(names.dnsSubdomain)),
  items: files,
  optional: boolean(),
});

const SecretVolumeSource = record({
  secretName: required(string(names.dnsSubdomain)),
  items: files,
  defaultMode: mode,
  optional: boolean(),
});

const DownwardAPIVolumeFile = record({
  path: required(string(names.fileBelow)),
  fieldRef: FieldRef,
  resourceFieldRef: ResourceFieldRef,
  mode,
});

const downwardFiles = list(DownwardAPIVolumeFile, MAX_FILES);

const VolumeProjection = record({
  configMap: ConfigMapProjection,
  secret: ConfigMapProjection,
  downwardAPI: record({ items: downwardFiles }),
  serviceAccountToken: unsupported("is not supported: there is no API server"),
  clusterTrustBundle: unsupported("is not supported: there is no API server"),
  podCertificate: unsupported("is not supported: there is no API server"),
});

const EmptyDirVolumeSource = record({
  medium: oneOf("", "Memory"),
  sizeLimit: quantity("a quantity as in 64Mi", parseBytes),
});

const HostPathVolumeSource = record({
  path: required(string(names.absolutePath)),
  type: oneOf(
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
  ),
});

const NO_DRIVER =
  "is not supported: there are no drivers; mount it on the machine, and let the pod have that by a hostPath";
const NO_PROVISIONER =
  "is not supported: nobody provisions storage; use emptyDir, or a claim that stays when the pod goes";
const NO_GIT = "is not supported: clone it in an init container, into an emptyDir";

const Volume = record({
  name: required(string(names.dnsLabel)),
  emptyDir: EmptyDirVolumeSource,
  hostPath: HostPathVolumeSource,
  configMap: record({
    name: required(string(names.dnsSubdomain)),
    items: files,
    defaultMode: mode,
    optional: boolean(),
  }),
  secret: SecretVolumeSource,
  downwardAPI: record({ items: downwardFiles, defaultMode: mode }),
  projected: record({ sources: required(list(VolumeProjection, 64)), defaultMode: mode }),
  persistentVolumeClaim: record({ claimName: required(string(names.dnsSubdomain)), readOnly: boolean() }),
  image: record({
    reference: required(imageReference),
    pullPolicy: oneOf("Always", "IfNotPresent", "Never"),
  }),
  awsElasticBlockStore: unsupported(NO_DRIVER),
  azureDisk: unsupported(NO_DRIVER),
  azureFile: unsupported(NO_DRIVER),
  cephfs: unsupported(NO_DRIVER),
  cinder: unsupported(NO_DRIVER),
  csi: unsupported(NO_DRIVER),
  ephemeral: unsupported(NO_PROVISIONER),
  fc: unsupported(NO_DRIVER),
  flexVolume: unsupported(NO_DRIVER),
  flocker: unsupported(NO_DRIVER),
  gcePersistentDisk: unsupported(NO_DRIVER),
  gitRepo: unsupported(NO_GIT),
  glusterfs: unsupported(NO_DRIVER),
  iscsi: unsupported(NO_DRIVER),
  nfs: unsupported(NO_DRIVER),
  photonPersistentDisk: unsupported(NO_DRIVER),
  portworxVolume: unsupported(NO_DRIVER),
  quobyte: unsupported(NO_DRIVER),
  rbd: unsupported(NO_DRIVER),
  scaleIO: unsupported(NO_DRIVER),
  storageos: unsupported(NO_DRIVER),
  vsphereVolume: unsupported(NO_DRIVER),
});

const VolumeMount = record({
  name: required(string(names.dnsLabel)),
  mountPath: required(string(names.absolutePath)),
  mountPropagation: oneOf("None", "HostToContainer", "Bidirectional"),
  readOnly: boolean(),
  recursiveReadOnly: oneOf("Disabled", "IfPossible", "Enabled"),
  subPath: string(names.subPath),
  subPathExpr: string(names.subPath),
});

export const VOLUME_FIELDS = {
  VolumeMount,
  Volume,
  EmptyDirVolumeSource,
  HostPathVolumeSource,
  SecretVolumeSource,
  KeyToPath,
  DownwardAPIVolumeFile,
  VolumeProjection,
  ConfigMapProjection,
} as const;

export type VolumeSpec = TypeOf<typeof Volume>;
export type VolumeMountSpec = TypeOf<typeof VolumeMount>;
export type ProjectionSpec = TypeOf<typeof VolumeProjection>;
export type KeyToPathSpec = TypeOf<typeof KeyToPath>;
export type DownwardFileSpec = TypeOf<typeof DownwardAPIVolumeFile>;
