// SPDX-License-Identifier: Apache-2.0

import * as names from "./names.ts";
import { nearMiss } from "./near-miss.ts";
import { integer, oneOf, portReference, string } from "./scalars.ts";
import { list, record, required, type TypeOf, unsupported } from "./schema.ts";
import { SIGNALS } from "./signals.ts";

const port = portReference(names.portName);
const ExecAction = record({ command: required(list(string(), 1024, 1)) });
const HTTPHeader = record({
  name: required(string(names.headerName)),
  value: required(string(names.headerValue)),
});
const HTTPGetAction = record({
  host: string(names.ipAddress),
  httpHeaders: list(HTTPHeader, 64),
  path: string(names.urlPath),
  port: required(port),
  scheme: oneOf("HTTP", "HTTPS"),
});
const TCPSocketAction = record({ host: string(names.ipAddress), port: required(port) });
const GRPCAction = record({ port: required(integer(1, 65_535)), service: string() });

const SECONDS_MAX = 86_400;
export const Probe = record({
  exec: ExecAction,
  httpGet: HTTPGetAction,
  tcpSocket: TCPSocketAction,
  grpc: GRPCAction,
  initialDelaySeconds: integer(0, SECONDS_MAX),
  periodSeconds: integer(1, SECONDS_MAX),
  timeoutSeconds: integer(1, SECONDS_MAX),
  successThreshold: integer(1, 10_000),
  failureThreshold: integer(1, 10_000),
  terminationGracePeriodSeconds: integer(1, SECONDS_MAX),
});

const SleepAction = record({ seconds: required(integer(0, SECONDS_MAX)) });
const LifecycleHandler = record({
  exec: ExecAction,
  httpGet: HTTPGetAction,
  sleep: SleepAction,
  tcpSocket: unsupported("does nothing in Kubernetes, leave it out"),
});
const stopSignal = string((name) => {
  if (SIGNALS.has(name)) return undefined;
  const meant = nearMiss(name, SIGNALS.keys());
  return `expected a signal, got ${JSON.stringify(name)}; did you mean ${meant ?? "SIGTERM"}?`;
});
export const Lifecycle = record({ postStart: LifecycleHandler, preStop: LifecycleHandler, stopSignal });

export const ACTION_FIELDS = {
  Lifecycle,
  LifecycleHandler,
  SleepAction,
  Probe,
  ExecAction,
  HTTPGetAction,
  HTTPHeader,
  TCPSocketAction,
  GRPCAction,
} as const;

export type ProbeSpec = TypeOf<typeof Probe>;
export type HttpGetSpec = TypeOf<typeof HTTPGetAction>;
