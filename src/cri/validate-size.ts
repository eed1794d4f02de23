// SPDX-License-Identifier: Apache-2.0
import type { DescField } from "@bufbuild/protobuf";
import { invalid } from "./validate-fields.ts";

/** Far above what any pod has; keeps the checks themselves cheap. */
export const MAX_ENTRIES = 65_536;

/** Longer than any id, name or path. */
const MAX_TEXT_BYTES = 4096;

/** Texts that may be longer than ids, names and paths are, by message and field; some have closer checks besides. */
const LONGER_TEXTS_BYTES: ReadonlyMap<string, number> = new Map([
  ...["ContainerConfig.command", "ContainerConfig.args", "ExecSyncRequest.cmd", "ExecRequest.cmd"].map(
    (field) => [field, 131_072] as const,
  ),
  ...[
    "PodSandboxConfig.annotations",
    "ContainerConfig.annotations",
    "ImageSpec.annotations",
    "UpdateContainerResourcesRequest.annotations",
  ].map((field) => [field, 288 * 1024] as const),
  ...["username", "password", "auth", "identity_token", "registry_token"].map(
    (field) => [`AuthConfig.${field}`, 65_536] as const,
  ),
]);

/** Checks that a text is of a size that its field can have; one of no field is a name. */
export function checkTextSize(field: DescField | undefined, path: string, text: string): void {
  // Of UTF-16 one unit is three bytes of UTF-8 at most.
  if (text.length * 3 <= MAX_TEXT_BYTES) return;
  const longer = field && LONGER_TEXTS_BYTES.get(`${field.parent.name}.${field.name}`);
  const limit = longer ?? MAX_TEXT_BYTES;
  const bytes = Buffer.byteLength(text);
  if (bytes > limit) invalid(path, `must not exceed ${limit} bytes, but has ${bytes}`);
}
