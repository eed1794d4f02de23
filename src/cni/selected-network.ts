// SPDX-License-Identifier: Apache-2.0
import { unpinNamespace } from "../linux/namespace.ts";
import { bringLoopbackUp, type PodNetwork } from "../network/attachment.ts";
import type { BridgeNetwork } from "../network/bridge.ts";
import type { CniNetwork } from "./network.ts";

/**
 * The network of the machine's pods: plugins as soon as there is a configuration for them, podrt's own while there is
 * none. What is decided is where the next pod goes. Those that run keep what they have, and are detached from
 * that: one in a network of plugins has a record of its attachment, one in podrt's own a lease.
 */
export function selectNetwork(own: BridgeNetwork, cni: CniNetwork): PodNetwork {
  return {
    status: async () => (cni.isConfigured() ? cni.status() : own.status()),
    checkRequest(request) {
      if (cni.isConfigured()) cni.checkRequest(request);
      else own.checkHostPorts(request.hostPorts);
    },
    async attach(request, namespace) {
      if (cni.isConfigured()) {
        await bringLoopbackUp(namespace.fd);
        return cni.attach(request, namespace);
      }
      const { sandboxId, hostPorts } = request;
      return own.attach({ sandboxId, hostPorts, netnsFd: namespace.fd });
    },
    usable: (sandboxId) => own.usable(sandboxId),
    async detach(sandboxId, pin) {
      if (cni.has(sandboxId)) await cni.detach(sandboxId);
      unpinNamespace(pin);
      await own.detach(sandboxId);
    },
    async release(sandboxId, pin) {
      if (cni.has(sandboxId)) await cni.detach(sandboxId);
      unpinNamespace(pin);
      await own.release(sandboxId);
    },
    settled: () => own.settled(),
    async usePodCidrs(cidrs) {
      cni.usePodCidrs(cidrs);
      if (!cni.isConfigured()) await own.usePodCidrs(cidrs);
    },
    async reconcile(liveSandboxIds) {
      cni.reconcile(liveSandboxIds);
      await own.reconcile(liveSandboxIds);
    },
    own: {
      gatewayAddresses: () => own.gatewayAddresses(),
      hasAddress: (address) => own.hasAddress(address),
      isUsed: () => !cni.isConfigured(),
    },
    describe: () => cni.describe(),
    resultOf: (sandboxId) => cni.resultOf(sandboxId),
  };
}
