// SPDX-License-Identifier: Apache-2.0

// Letters, digits and some marks between; the first and the last are no marks (CDI's SPEC.md, "Kind" and
// "CDI Devices"). A component of a kind begins with a letter.
const VENDOR = String.raw`[A-Za-z](?:[\w.-]*[A-Za-z0-9])?`;
const CLASS = VENDOR;
const NAME = String.raw`[A-Za-z0-9](?:[\w.:-]*[A-Za-z0-9])?`;

const MAX_NAME_BYTES = 1024;
const QUALIFIED = new RegExp(`^${VENDOR}/${CLASS}=${NAME}$`);
const KIND = new RegExp(`^${VENDOR}/${CLASS}$`);
const DEVICE = new RegExp(`^${NAME}$`);

/** True of a device as a container asks for it: `vendor.com/class=name`. */
export function isQualifiedName(text: string): boolean {
  return text.length <= MAX_NAME_BYTES && QUALIFIED.test(text);
}

/** True of what the devices of one file have in common: `vendor.com/class`. */
export function isKind(text: string): boolean {
  return text.length <= MAX_NAME_BYTES && KIND.test(text);
}

/** True of a device's name within its kind. */
export function isDeviceName(text: string): boolean {
  return text.length <= MAX_NAME_BYTES && DEVICE.test(text);
}

const ANNOTATION_PREFIX = "cdi.k8s.io/";

/** Annotations by which device plugins ask for devices: the key, and the names in its value. */
export function annotatedDevices(annotations: Readonly<Record<string, string>>): [string, string[]][] {
  return Object.entries(annotations)
    .filter(([key]) => key.startsWith(ANNOTATION_PREFIX))
    .map(([key, value]) => [key, value.split(",")]);
}
