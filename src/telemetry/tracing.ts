// SPDX-License-Identifier: Apache-2.0
import { type Environment, oneOf } from "./environment.ts";
import type { Tracing } from "./otlp.ts";

/**
 * Sends traces where the standard variables say so: OTEL_EXPORTER_OTLP_ENDPOINT or ..._TRACES_ENDPOINT, unless
 * OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER=none. Without them nothing of OpenTelemetry is loaded.
 * InvalidArgumentError for a value that is not supported.
 */
export async function startTracing(env: Environment): Promise<Tracing | undefined> {
  const hasEndpoint =
    isSet(env["OTEL_EXPORTER_OTLP_ENDPOINT"]) || isSet(env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]);
  if (!hasEndpoint || env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true") return undefined;
  const exporter = oneOf(env, "OTEL_TRACES_EXPORTER", ["otlp", "none"], "otlp");
  if (exporter === "none") return undefined;
  const protocols = ["http/protobuf"] as const;
  oneOf(env, "OTEL_EXPORTER_OTLP_PROTOCOL", protocols, "http/protobuf");
  oneOf(env, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocols, "http/protobuf");
  return (await import("./otlp.ts")).startOtlp(env);
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== "";
}
