// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { parse as parseYaml } from "yaml";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { isDeviceName, isKind } from "./device-name.ts";

/*
 * A file of the Container Device Interface, as a device's vendor leaves it on the machine: what is to be
 * edited in a container's configuration so that it can use the device (SPEC.md of cncf-tags/
 * container-device-interface, versions 0.3.0 to 1.1.0).
 */

const LIST_LIMIT = 4096;
const TEXT_LIMIT = 128 * 1024;
const ID_LIMIT = 0xffff_ffff;

const VERSION = /^(0\.[3-8]\.0|1\.[01]\.0)$/;

const text = v.pipe(v.string(), v.maxLength(TEXT_LIMIT), v.regex(/^[^\0]*$/, "has a NUL byte"));
const path = v.pipe(text, v.startsWith("/", "is no absolute path"), v.maxLength(4095));
const id = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(ID_LIMIT));
const list = <T extends v.GenericSchema>(item: T) =>
  v.optional(v.pipe(v.array(item), v.maxLength(LIST_LIMIT)), []);

const deviceNodeSchema = v.strictObject({
  path,
  hostPath: v.optional(path),
  type: v.optional(v.picklist(["b", "c", "u", "p"])),
  major: v.optional(id),
  minor: v.optional(id),
  fileMode: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0o7777))),
  permissions: v.optional(v.pipe(v.string(), v.regex(/^[rwm]{1,3}$/, "is not made of r, w and m"))),
  uid: v.optional(id),
  gid: v.optional(id),
});

const mountSchema = v.strictObject({
  hostPath: v.pipe(text, v.minLength(1)),
  containerPath: path,
  type: v.optional(text),
  options: list(text),
});

const hookSchema = v.strictObject({
  hookName: v.picklist([
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
  ]),
  path,
  args: list(text),
  env: list(text),
  timeout: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0))),
});

const editsSchema = v.strictObject({
  env: list(v.pipe(text, v.regex(/^[^=]+=/, "is no variable as in NAME=value"))),
  deviceNodes: list(deviceNodeSchema),
  mounts: list(mountSchema),
  hooks: list(hookSchema),
  additionalGids: list(id),
  // Refused where a container asks for the device: their content does not matter.
  intelRdt: v.optional(v.looseObject({})),
  netDevices: list(v.looseObject({})),
});

// For whoever reads the file; no edits.
const annotations = v.optional(v.record(v.string(), v.string()));

const specSchema = v.strictObject({
  cdiVersion: v.pipe(v.string(), v.regex(VERSION, "is no version from 0.3.0 to 1.1.0")),
  kind: v.pipe(v.string(), v.check(isKind, "is no kind as in vendor.com/class")),
  annotations,
  devices: v.pipe(
    v.array(
      v.strictObject({
        name: v.pipe(v.string(), v.check(isDeviceName, "is no name of a device")),
        annotations,
        containerEdits: editsSchema,
      }),
    ),
    v.minLength(1),
    v.maxLength(LIST_LIMIT),
  ),
  containerEdits: v.optional(editsSchema),
});

export type CdiSpec = v.InferOutput<typeof specSchema>;
export type CdiEdits = v.InferOutput<typeof editsSchema>;
export type CdiDeviceNode = v.InferOutput<typeof deviceNodeSchema>;
export type CdiMount = v.InferOutput<typeof mountSchema>;

/** Reads the content of a `.json` or `.yaml` file; FailedPreconditionError says what is wrong with it. */
export function parseCdiSpec(content: string, format: "json" | "yaml"): CdiSpec {
  let document: unknown;
  try {
    document = format === "json" ? JSON.parse(content) : parseYaml(content);
  } catch (error) {
    throw new FailedPreconditionError(`is no ${format.toUpperCase()}: ${messageOf(error).split("\n")[0]}`);
  }
  const result = v.safeParse(specSchema, document, { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    throw new FailedPreconditionError(`${v.getDotPath(issue) ?? "document"}: ${issue.message}`);
  }
  const names = result.output.devices.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new FailedPreconditionError(`devices: ${twice} is there twice`);
  return result.output;
}
