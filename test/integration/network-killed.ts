// SPDX-License-Identifier: Apache-2.0
import { openNamespace } from "../../src/linux/namespace.ts";
import { NetlinkSocket } from "../../src/linux/netlink/socket.ts";
import { openTestNetwork } from "./network-harness.ts";

// Attaches or detaches one sandbox and kills itself with SIGKILL after so many exchanges with the kernel;
// prints `done` when there were not that many. Arguments: what, configuration, directory, sandbox id, pid
// of a process in the namespace, exchanges.
const [what, config, directory, sandboxId, pid, exchanges] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
];

let left = Number(exchanges);
for (const method of ["execute", "executeBatch"] as const) {
  const original = NetlinkSocket.prototype[method] as (requests: never) => Promise<never>;
  NetlinkSocket.prototype[method] = async function (this: NetlinkSocket, requests: never): Promise<never> {
    const answer = await original.call(this, requests);
    if (left-- === 0) process.kill(process.pid, "SIGKILL");
    return answer;
  };
}

const { network } = openTestNetwork(JSON.parse(config), directory);
if (what === "attach") {
  using namespace = openNamespace(Number(pid), "net");
  const hostPorts = [{ protocol: "tcp", containerPort: 80, hostPort: 34_000 } as const];
  await network.attach({ sandboxId, netnsFd: namespace.number, hostPorts });
} else {
  process.kill(Number(pid), "SIGKILL");
  await network.detach(sandboxId);
}
console.log("done");
