// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InternalError, messageOf } from "../errors.ts";
import type { AttachmentRecord } from "./attachment-record.ts";
import { isAtLeast, type NetworkConf, type PluginConf } from "./conf.ts";
import { type CniCommand, callPlugin, findPlugin, type PluginPlace } from "./plugin.ts";
import { addressesOf, type CniResult, parseResult, parseVersions } from "./result.ts";

/*
 * The operations of the specification on all plugins of a network: ADD, CHECK and STATUS in their order, DEL in the
 * opposite one, each up to the first failure; GC on every one, since nobody waits for it.
 */

/** Everything that a plugin is told of an attachment besides its configuration. */
interface Derived {
  readonly prevResult?: CniResult | undefined;
  readonly capabilities?: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** Attaches the namespace pinned at `netns`; answers the last plugin's result and the pod's addresses in it. */
export async function addToNetwork(
  place: PluginPlace,
  record: AttachmentRecord,
  netns: string,
): Promise<{ result: CniResult; addresses: string[] }> {
  const { network, capabilities, interfaceName } = record;
  let prevResult: CniResult | undefined;
  for (const plugin of network.plugins) {
    const conf = derive(network, plugin, { prevResult, capabilities });
    const parameters = parametersOf(record, netns);
    prevResult = await call(place, network, plugin, "ADD", conf, parameters, (text) => ({
      cniVersion: network.cniVersion,
      ...parseResult(text),
    }));
  }
  const last = network.plugins.at(-1) as PluginConf;
  const addresses = named(network, last, "ADD", () => addressesOf(prevResult ?? {}, interfaceName));
  if (prevResult === undefined || addresses.length === 0) {
    throw new InternalError(
      `network ${network.name}: ADD by plugin ${last.type}: the result has no address for ${interfaceName}`,
    );
  }
  return { result: prevResult, addresses };
}

/** Takes back all that ADD, or some plugins of it, have done; `netns` is empty when the namespace is gone. */
export async function deleteFromNetwork(
  place: PluginPlace,
  record: AttachmentRecord,
  netns: string,
): Promise<void> {
  const { network, capabilities, result } = record;
  const prevResult = isAtLeast(network, "0.4.0") ? result : undefined;
  for (const plugin of network.plugins.toReversed()) {
    const conf = derive(network, plugin, { prevResult, capabilities });
    await call(place, network, plugin, "DEL", conf, parametersOf(record, netns));
  }
}

/** Throws what is not as ADD has left it; nothing where the network cannot tell. */
export async function checkAttachment(
  place: PluginPlace,
  record: AttachmentRecord,
  netns: string,
): Promise<void> {
  const { network, capabilities, result } = record;
  if (!isAtLeast(network, "0.4.0") || network.disableCheck || result === undefined) return;
  for (const plugin of network.plugins) {
    const conf = derive(network, plugin, { prevResult: result, capabilities });
    await call(place, network, plugin, "CHECK", conf, parametersOf(record, netns));
  }
}

/** Throws why the network can attach no pods now; nothing where it cannot tell. */
export async function checkStatus(place: PluginPlace, network: NetworkConf): Promise<void> {
  if (!isAtLeast(network, "1.1.0")) return;
  for (const plugin of network.plugins) {
    await call(place, network, plugin, "STATUS", derive(network, plugin, {}), {});
  }
}

/** Tells the plugins which attachments there are, so that they give back what belongs to any other. */
export async function collectGarbage(
  place: PluginPlace,
  network: NetworkConf,
  valid: readonly Pick<AttachmentRecord, "sandboxId" | "interfaceName">[],
): Promise<void> {
  if (!isAtLeast(network, "1.1.0") || network.disableGC) return;
  const attachments = valid.map(({ sandboxId, interfaceName }) => ({
    containerID: sandboxId,
    ifname: interfaceName,
  }));
  const failures: string[] = [];
  for (const plugin of network.plugins) {
    const conf = derive(network, plugin, { "cni.dev/valid-attachments": attachments });
    await call(place, network, plugin, "GC", conf, {}).catch((error) => failures.push(messageOf(error)));
  }
  if (failures.length > 0) throw new InternalError(failures.join("; "));
}

/** Throws when a plugin is not installed, with the specification's name of each one's directory. */
export function checkInstalled(place: PluginPlace, network: NetworkConf): void {
  for (const { type } of network.plugins) findPlugin(place, network.name, type);
}

/** Throws when a plugin does not speak the network's version. */
export async function checkVersions(place: PluginPlace, network: NetworkConf): Promise<void> {
  const { name, cniVersion } = network;
  // What the oldest plugins insist on.
  const parameters = { CNI_CONTAINERID: "dummy", CNI_NETNS: "dummy", CNI_IFNAME: "dummy" };
  for (const plugin of network.plugins) {
    const versions = await call(place, network, plugin, "VERSION", { cniVersion }, parameters, parseVersions);
    if (!versions.includes(cniVersion)) {
      throw new FailedPreconditionError(
        `network ${name}: plugin ${plugin.type} speaks ${versions.join(", ")}, not the network's cniVersion ${cniVersion}; install a newer one`,
      );
    }
  }
}

/** The configuration of one plugin as it is executed: the network's name and version, and what has come of it yet. */
function derive(
  network: NetworkConf,
  plugin: PluginConf,
  { prevResult, capabilities, ...more }: Derived,
): object {
  const wanted = Object.entries(plugin.capabilities ?? {})
    .filter(([name, isWanted]) => isWanted && capabilities?.[name] !== undefined)
    .map(([name]) => [name, capabilities?.[name]]);
  return {
    ...plugin,
    name: network.name,
    cniVersion: network.cniVersion,
    ...(prevResult === undefined ? {} : { prevResult }),
    ...(wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) }),
    ...more,
  };
}

function parametersOf(
  { sandboxId, interfaceName, arguments: args }: AttachmentRecord,
  netns: string,
): Record<string, string> {
  return {
    CNI_CONTAINERID: sandboxId,
    CNI_NETNS: netns,
    CNI_IFNAME: interfaceName,
    CNI_ARGS: Object.entries(args)
      .map(([name, value]) => `${name}=${value}`)
      .join(";"),
  };
}

async function call(
  place: PluginPlace,
  network: NetworkConf,
  plugin: PluginConf,
  command: CniCommand,
  conf: object,
  parameters: Readonly<Record<string, string>>,
): Promise<void>;
async function call<T>(
  place: PluginPlace,
  network: NetworkConf,
  plugin: PluginConf,
  command: CniCommand,
  conf: object,
  parameters: Readonly<Record<string, string>>,
  parse: (output: string) => T,
): Promise<T>;
async function call<T>(
  place: PluginPlace,
  network: NetworkConf,
  plugin: PluginConf,
  command: CniCommand,
  conf: object,
  parameters: Readonly<Record<string, string>>,
  parse?: (output: string) => T,
): Promise<T | undefined> {
  const request = { network: network.name, type: plugin.type, command, conf, parameters };
  const output = await callPlugin(place, request);
  return parse === undefined ? undefined : named(network, plugin, command, () => parse(output));
}

/** Runs `work`; its error is told with the network, plugin and command that it is of. */
function named<T>(network: NetworkConf, plugin: PluginConf, command: CniCommand, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const what = `network ${network.name}: ${command} by plugin ${plugin.type}`;
    throw new InternalError(`${what}: ${messageOf(error)}`, { cause: error });
  }
}
