// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { FailedPreconditionError, messageOf } from "../errors.ts";

/*
 * Network configurations as CNI plugins' vendors leave them on the machine (SPEC.md of containernetworking/cni,
 * versions 0.3.0 to 1.1.0). What podrt reads is checked; everything else is the plugins' own and goes to them as it
 * stands in the file.
 */

/** Versions of the specification that podrt speaks, oldest first. */
export const CNI_VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

/** One plugin of a network, as in the file. */
export interface PluginConf {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>> | undefined;
  readonly [key: string]: unknown;
}

/** A network: its plugins are run one after the other, each with the result of those before. */
export interface NetworkConf {
  readonly name: string;
  readonly cniVersion: CniVersion;
  readonly disableCheck: boolean;
  readonly disableGC: boolean;
  readonly plugins: readonly PluginConf[];
}

const PLUGINS_LIMIT = 32;
const NAME_LIMIT = 255;

const boolean = v.union([
  v.boolean(),
  v.pipe(
    v.string(),
    v.toLowerCase(),
    v.picklist(["true", "false"], "is neither true nor false"),
    v.transform((text) => text === "true"),
  ),
]);
/** The name of an executable in one of the configured directories, and of nothing elsewhere. */
const pluginType = v.pipe(
  v.string(),
  v.maxLength(NAME_LIMIT),
  v.regex(/^[^/\0]+$/, "is no name of a plugin: it must not be empty nor have a slash"),
  v.check((name) => name !== "." && name !== "..", "is no name of a plugin"),
);
const version = v.pipe(v.string(), v.regex(/^\d{1,4}\.\d{1,4}\.\d{1,4}$/, "is no version as in 1.0.0"));
/** Files are often named after it, so it must not lead anywhere. */
const networkName = v.pipe(
  v.string(),
  v.maxLength(NAME_LIMIT),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'is no name of a network: letters, digits, "_", "." and "-"'),
);

const pluginSchema = v.looseObject({
  type: pluginType,
  capabilities: v.optional(v.record(v.string(), v.boolean())),
  // Plugins run this one themselves, from the same directories.
  ipam: v.optional(v.looseObject({ type: v.optional(v.union([pluginType, v.literal("")])) })),
});
const versions = {
  cniVersion: v.optional(version),
  cniVersions: v.optional(v.pipe(v.array(version), v.maxLength(PLUGINS_LIMIT))),
};
const listSchema = v.looseObject({
  ...versions,
  name: networkName,
  disableCheck: v.optional(boolean, false),
  disableGC: v.optional(boolean, false),
  loadOnlyInlinedPlugins: v.optional(boolean, false),
  plugins: v.optional(v.pipe(v.array(pluginSchema), v.minLength(1, "is empty"), v.maxLength(PLUGINS_LIMIT))),
});
const singleSchema = v.looseObject({ ...versions, name: networkName, ...pluginSchema.entries });

/**
 * Reads a configuration list (`.conflist`). `pluginFiles` answers the text of each file of plugins that stand
 * beside it, in a directory with the network's name. FailedPreconditionError says what is wrong.
 */
export function parseList(
  text: string,
  pluginFiles: (network: string) => readonly { readonly file: string; readonly text: string }[],
): NetworkConf {
  const list = check(listSchema, text);
  const { name, plugins: inline, disableCheck, disableGC, loadOnlyInlinedPlugins } = list;
  if (inline === undefined && loadOnlyInlinedPlugins) {
    throw new FailedPreconditionError("plugins: is missing, and loadOnlyInlinedPlugins is true");
  }
  const others = loadOnlyInlinedPlugins ? [] : pluginFiles(name);
  const plugins = [...(inline ?? []), ...others.map(parsePluginFile)];
  if (plugins.length === 0) throw new FailedPreconditionError("plugins: there is none");
  if (plugins.length > PLUGINS_LIMIT) {
    throw new FailedPreconditionError(`plugins: there are more than ${PLUGINS_LIMIT}`);
  }
  return { name, cniVersion: versionOf(list), disableCheck, disableGC, plugins };
}

/** Reads the configuration of a single plugin (`.conf`, `.json`): a list of one. */
export function parseSingle(text: string): NetworkConf {
  const conf = check(singleSchema, text);
  const cniVersion = versionOf(conf);
  return { name: conf.name, cniVersion, disableCheck: false, disableGC: false, plugins: [conf] };
}

/** True when the network is of that version of the specification or a later one. */
export function isAtLeast({ cniVersion }: NetworkConf, wanted: CniVersion): boolean {
  return CNI_VERSIONS.indexOf(cniVersion) >= CNI_VERSIONS.indexOf(wanted);
}

function parsePluginFile({ file, text }: { file: string; text: string }): PluginConf {
  try {
    return check(pluginSchema, text);
  } catch (error) {
    throw new FailedPreconditionError(`${file}: ${messageOf(error)}`, { cause: error });
  }
}

function check<T extends v.GenericSchema>(schema: T, text: string): v.InferOutput<T> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new FailedPreconditionError(`is no JSON: ${messageOf(error).split("\n")[0]}`);
  }
  const result = v.safeParse(schema, document, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw new FailedPreconditionError(`${v.getDotPath(issue) ?? "document"}: ${issue.message}`);
}

/** The newest of the versions that the file offers and podrt speaks. */
function versionOf(conf: {
  readonly cniVersion?: string | undefined;
  readonly cniVersions?: readonly string[] | undefined;
}): CniVersion {
  const offered = [...(conf.cniVersions ?? []), ...(conf.cniVersion === undefined ? [] : [conf.cniVersion])];
  const best = CNI_VERSIONS.findLast((known) => offered.includes(known));
  if (best !== undefined) return best;
  const said = offered.length === 0 ? "is missing" : `is ${offered.join(", ")}`;
  const [oldest, newest] = [CNI_VERSIONS[0], CNI_VERSIONS.at(-1)];
  throw new FailedPreconditionError(`cniVersion: ${said}; podrt speaks ${oldest} to ${newest}`);
}
