// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { openSession, type Transport } from "../../fixtures/session-client.ts";
import { connectSpdy } from "../../fixtures/spdy-client.ts";
import { containersThat, isHealthy, type ModelCommand, onOneOf, podsThat } from "./command.ts";
import { type Container, inBackground, type Pod, type Real } from "./model.ts";

// Streaming sessions and subscriptions that are opened and broken off. What becomes of them is nobody's matter but
// the checker's: they leave nothing.

const LINES = ["sleep 3599", "yes", "cat", "sleep 3599 & setsid sleep 3599 & wait", "exit 5"] as const;
const transport = fc.constantFrom<Transport>("spdy", "websocket");
const afterMs = fc.nat(300);

interface Chosen {
  readonly transport: Transport;
  readonly afterMs: number;
}

async function executed(
  { daemon, call }: Real,
  { id, pod, name }: Container,
  { transport, afterMs, line }: Chosen & { readonly line: string },
): Promise<void> {
  const streams = { stdin: true, stdout: true, stderr: true };
  const { url } = await call(`exec session in ${pod.name}/${name}`, () =>
    daemon.api.exec({ containerId: id, cmd: ["sh", "-c", line], ...streams }),
  );
  await brokenOff(url, transport, afterMs, streams);
}

async function attached(
  { daemon, call }: Real,
  { id, pod, name, hasTerminal }: Container,
  { transport, afterMs }: Chosen,
): Promise<void> {
  const streams = { stdout: true, stderr: !hasTerminal, tty: hasTerminal };
  const { url } = await call(`attach to ${pod.name}/${name}`, () =>
    daemon.api.attach({ containerId: id, ...streams }),
  );
  await brokenOff(url, transport, afterMs, streams);
}

async function brokenOff(url: string, transport: Transport, afterMs: number, streams: object): Promise<void> {
  const session = await openSession(url, transport, streams);
  await sleep(afterMs);
  session.abort();
}

async function forwarded(
  { daemon, call }: Real,
  pod: Pod,
  chosen: { readonly afterMs: number },
): Promise<void> {
  const { url } = await call(`port forwarding to ${pod.name}`, () =>
    daemon.api.portForward({ podSandboxId: pod.id }),
  );
  const client = await connectSpdy(url, ["portforward.k8s.io"]);
  await client.open({ streamtype: "error", port: "80", requestid: "1" });
  await sleep(chosen.afterMs);
  client.socket.resetAndDestroy();
}

async function subscribed({ daemon }: Real, milliseconds: number): Promise<void> {
  const leaving = new AbortController();
  const timer = setTimeout(() => leaving.abort(), milliseconds);
  try {
    for await (const _ of daemon.api.getContainerEvents({}, { signal: leaving.signal, timeoutMs: 0 }));
  } finally {
    clearTimeout(timer);
  }
}

const running = containersThat(
  ({ state, pod, program, codes }) =>
    state === "started" && program.kind === "endless" && codes.size === 0 && isHealthy(pod),
);
const pods = podsThat(isHealthy);

export const sessionCommands: readonly fc.Arbitrary<ModelCommand>[] = [
  onOneOf(
    "exec session",
    running,
    { transport, afterMs, line: fc.constantFrom(...LINES) },
    async (real, it, chosen, model) => inBackground(model, executed(real, it, chosen)),
  ),
  onOneOf("attach session", running, { transport, afterMs }, async (real, it, chosen, model) =>
    inBackground(model, attached(real, it, chosen)),
  ),
  onOneOf("port forwarding", pods, { afterMs }, async (real, pod, chosen, model) =>
    inBackground(model, forwarded(real, pod, chosen)),
  ),
  onOneOf(
    "subscribe to events",
    (model) => [model],
    { afterMs },
    async (real, model, { afterMs: milliseconds }) => inBackground(model, subscribed(real, milliseconds)),
  ),
];
