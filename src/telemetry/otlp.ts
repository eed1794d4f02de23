// SPDX-License-Identifier: Apache-2.0
import {
  type Context,
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { parseTraceParent } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import manifest from "../../package.json" with { type: "json" };
import { messageOf } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { logger } from "../lib/logger.ts";
import { type Operation, observeOperations } from "../lib/operation.ts";
import { type Environment, numberFrom, oneOf } from "./environment.ts";

// Loaded only where traces are wanted. The packages read the endpoint, headers, timeouts, certificates and resource
// attributes from the environment by themselves; the sampler and the batches are read here.

const SHUTDOWN_TIMEOUT_MS = 3000;
const DAY_MS = 86_400_000;

export interface Tracing {
  /** Sends what is left, within some seconds. */
  close(): Promise<void>;
}

/** Exports a span for each operation and each of its phases. */
export function startOtlp(env: Environment): Tracing {
  diag.setLogger(diagLogger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const own = resourceFromAttributes({ "service.name": manifest.name, "service.version": manifest.version });
  const provider = new TracerProvider({
    resource: own.merge(detectResources({ detectors: [envDetector] })),
    sampler: samplerFrom(env),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter(),
        scheduledDelayMillis: numberFrom(env, "OTEL_BSP_SCHEDULE_DELAY", [0, DAY_MS], 5000),
        exportTimeoutMillis: numberFrom(env, "OTEL_BSP_EXPORT_TIMEOUT", [0, DAY_MS], 30_000),
        maxQueueSize: numberFrom(env, "OTEL_BSP_MAX_QUEUE_SIZE", [1, 1e6], 2048),
        maxExportBatchSize: numberFrom(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", [1, 1e6], 512),
      }),
    ],
  });
  const tracer = provider.getTracer(manifest.name, manifest.version);
  const spans = new WeakMap<Operation, Span>();
  const stop = observeOperations({
    begun(operation) {
      const options = {
        kind: operation.isCall ? SpanKind.SERVER : SpanKind.INTERNAL,
        startTime: operation.startedAtMs,
      };
      const span = tracer.startSpan(operation.name, options, contextOf(operation.traceparent));
      operation.traceId = span.spanContext().traceId;
      spans.set(operation, span);
    },
    phaseEnded(operation, name, startTime, endTime) {
      const span = spans.get(operation);
      if (span === undefined) return;
      tracer.startSpan(name, { startTime }, trace.setSpan(ROOT_CONTEXT, span)).end(endTime);
    },
    ended(operation, { code, message, ids = {}, endedAtMs }) {
      const span = spans.get(operation);
      if (span === undefined) return;
      span.setAttribute("rpc.method", operation.name).setAttribute("rpc.response.status_code", code);
      for (const [name, value] of Object.entries(ids)) span.setAttribute(`podrt.${name}`, String(value));
      if (code !== "OK") span.setStatus({ code: SpanStatusCode.ERROR, message: message ?? code });
      span.end(endedAtMs);
    },
  });
  return {
    async close() {
      stop();
      await withDeadline(provider.shutdown(), SHUTDOWN_TIMEOUT_MS, "sending the last traces").catch((err) =>
        logger.warn({ err }, "the last traces were not sent"),
      );
    },
  };
}

/** The client's span as parent, where its header is well-formed. */
function contextOf(traceparent: string | undefined): Context {
  const parent = traceparent === undefined ? null : parseTraceParent(traceparent);
  return parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...parent, isRemote: true });
}

function samplerFrom(env: Environment): Sampler {
  const names = ["always_on", "always_off", "traceidratio"] as const;
  const all = [...names, ...names.map((name) => `parentbased_${name}` as const)];
  const chosen = oneOf(env, "OTEL_TRACES_SAMPLER", all, "parentbased_always_on");
  const ratio = numberFrom(env, "OTEL_TRACES_SAMPLER_ARG", [0, 1], 1);
  const samplers: Readonly<Record<(typeof names)[number], () => Sampler>> = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  const root = names.find((name) => chosen.endsWith(name)) ?? "always_on";
  const sampler = samplers[root]();
  return chosen.startsWith("parentbased_") ? new ParentBasedSampler({ root: sampler }) : sampler;
}

const say =
  (level: "warn" | "error") =>
  (message: string, ...more: unknown[]) =>
    logger[level]({ details: more.map(messageOf) }, `traces: ${message}`);
const diagLogger = {
  error: say("error"),
  warn: say("warn"),
  info: () => {},
  debug: () => {},
  verbose: () => {},
};
