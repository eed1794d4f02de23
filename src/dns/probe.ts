// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { connectTcp } from "../linux/tcp.ts";
import { exchangeDatagram } from "../linux/udp.ts";
import { idOf, isAnswerTo, readQuery, TYPE_A } from "./message.ts";
import { DNS_PORT } from "./name-server.ts";
import { queryBytes } from "./query-bytes.ts";
import { framed, messageReader } from "./upstream.ts";
import { CLUSTER_DOMAIN } from "./zone.ts";

/** A datagram may be lost on a machine that has much to do. */
const ATTEMPTS = 3;
const ATTEMPT_MS = 1000;
const MAX_ANSWER_BYTES = 4096;

/**
 * Asks the name server at `address` for a name that it knows itself, from the network namespace of a pod, whose pin is at
 * `netnsPath`: it answers nobody else. Answers why there is no answer, or undefined where there is one.
 */
export async function probeNameServer(
  netnsPath: string,
  address: string,
  transport: "udp" | "tcp",
): Promise<string | undefined> {
  const message = queryBytes(CLUSTER_DOMAIN, TYPE_A, randomInt(0x1_0000));
  const reading = readQuery(message);
  if (reading.kind !== "query") throw new Error("the probe of the name server is no query");
  const ask = transport === "udp" ? overUdp : overTcp;
  let failure = "";
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const answer = await ask(netnsPath, address, message);
      if (isAnswerTo(reading.query, idOf(message), answer)) return undefined;
      failure = "what answers is no name server";
    } catch (error) {
      failure = (error as Error).message;
    }
  }
  return failure;
}

/** Whether anybody takes connections at the port of names of this machine's own `address`. */
export async function isServingNames(address: string): Promise<boolean> {
  try {
    const socket = await connectTcp(undefined, address, DNS_PORT, ATTEMPT_MS);
    socket.on("error", () => {});
    socket.destroy();
    return true;
  } catch {
    return false;
  }
}

function overUdp(netnsPath: string, address: string, message: Uint8Array): Promise<Uint8Array> {
  return exchangeDatagram(netnsPath, { address, port: DNS_PORT }, message, ATTEMPT_MS);
}

async function overTcp(netnsPath: string, address: string, message: Uint8Array): Promise<Uint8Array> {
  const socket = await connectTcp(netnsPath, address, DNS_PORT, ATTEMPT_MS);
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const reader = messageReader(MAX_ANSWER_BYTES, resolve);
  socket.setTimeout(ATTEMPT_MS, () => reject(new Error("no answer came over the connection")));
  socket.on("data", (bytes: Uint8Array) => {
    if (!reader(bytes)) reject(new Error("what answers is no name server"));
  });
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("the connection was closed without an answer")));
  socket.write(framed(message));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
