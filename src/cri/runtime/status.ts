// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { handlerNames, OWN_HANDLERS } from "../../container/oci/handler.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { StatusRequest, StatusResponseSchema } from "../../gen/runtime/v1/api_pb.ts";
import { BUILT_IN_PAUSE } from "../../image/built-in-pause.ts";
import { registryProblems } from "../../image/registry-problems.ts";
import { canChangeMountTrees } from "../../linux/mount-info.ts";
import { verboseInfo } from "../info.ts";

const MESSAGE_LIMIT_CHARACTERS = 4096;

/** Whether pods can run, and what podrt can do for them; asked every few seconds. */
export async function status(
  runtime: Runtime,
  request: StatusRequest,
): Promise<MessageInitShape<typeof StatusResponseSchema>> {
  const network = await runtime.network.status();
  return {
    status: {
      conditions: [
        { type: "RuntimeReady", status: true },
        network.ready
          ? { type: "NetworkReady", status: true }
          : {
              type: "NetworkReady",
              status: false,
              reason: network.reason || "NetworkPluginNotReady",
              message: `Network plugin returns error: ${network.message}`,
            },
        intactCondition(runtime.damage.list()),
        ...registriesCondition(runtime),
        ...(await systemdCondition(runtime)),
      ],
    },
    runtimeHandlers: handlerNames(runtime).map((name) => {
      const isOwn = OWN_HANDLERS.includes(name);
      return {
        name,
        features: {
          recursiveReadOnlyMounts: isOwn && canChangeMountTrees(),
          userNamespaces: isOwn && runtime.userNamespaces.supported,
        },
      };
    }),
    features: {
      supplementalGroupsPolicy: true,
      userNamespacesHostNetwork: runtime.userNamespaces.supported,
      mountOptions: true,
    },
    info: verboseInfo(request.verbose, "config", () => configInfo(runtime)),
  };
}

const SHOWN_SENTENCES = 5;

/** No kubelet goes by it: pods can run all the same. */
function intactCondition(damage: readonly string[]) {
  if (damage.length === 0) return { type: "StateIntact", status: true };
  const more =
    damage.length > SHOWN_SENTENCES ? [`${damage.length - SHOWN_SENTENCES} more: see the log`] : [];
  const message = [...damage.slice(0, SHOWN_SENTENCES), ...more].join("; ");
  return { type: "StateIntact", status: false, reason: "DamageFound", message };
}

/** Only where something is wrong: kubelets act on the other two alone, people read this one. */
function registriesCondition({ config }: Runtime) {
  const problems = registryProblems(config.image);
  const message = problems.join("; ").slice(0, MESSAGE_LIMIT_CHARACTERS);
  const reason = "RegistryConfigurationInvalid";
  return problems.length === 0 ? [] : [{ type: "RegistriesReady", status: false, reason, message }];
}

/**
 * Where systemd makes the cgroups of pods. Without it no pod can be made, but those that run go on, and a kubelet that
 * heard of a runtime which is not ready would let go of them all.
 */
async function systemdCondition({ config, systemd }: Runtime) {
  if (config.cgroup.driver !== "systemd") return [];
  const problem = await systemd.problem();
  if (problem === undefined) return [{ type: "SystemdReady", status: true }];
  const message = `pods cannot be made: ${problem}`.slice(0, MESSAGE_LIMIT_CHARACTERS);
  return [{ type: "SystemdReady", status: false, reason: "SystemdNotAnswering", message }];
}

/** crictl info and critest read `stateDir`. */
function configInfo({ paths, config, network, userNamespaces }: Runtime): object {
  return {
    stateDir: paths.stateDir,
    runDir: paths.runDir,
    socket: paths.socket,
    sandboxImage: config.image.sandbox_image ?? BUILT_IN_PAUSE,
    network: config.network,
    ...network.describe(),
    image: config.image,
    runtimes: config.runtimes,
    streaming: config.streaming,
    cgroup: config.cgroup,
    userNamespaces,
  };
}
