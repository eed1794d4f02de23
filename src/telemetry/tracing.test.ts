// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { startCollector } from "../../test/support/otlp-collector.ts";
import { beginCall, endOperation, enterPhase, runOperation, within } from "../lib/operation.ts";
import { startTracing } from "./tracing.ts";

const former = { ...process.env };
beforeEach(clean);
afterEach(() => {
  clean();
  Object.assign(process.env, former);
});

function clean(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith("OTEL_")) delete process.env[name];
}

/** The package reads part of the environment by itself. */
function tracingWith(variables: Readonly<Record<string, string>>) {
  Object.assign(process.env, variables);
  return startTracing(process.env);
}

const TRACE = "0af7651916cd43dd8448eb211c80319c";

test("a call is a span of its client's trace, and its phases are the spans below", async () => {
  using collector = startCollector();
  const tracing = await tracingWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    OTEL_RESOURCE_ATTRIBUTES: "k8s.node.name=n1",
  });
  const call = beginCall("StopContainer", `00-${TRACE}-b7ad6b7169203331-01`);
  within(call, () => enterPhase("grace"));
  within(call, () => enterPhase("kill"));
  endOperation(call, { code: "DeadlineExceeded", message: "stuck", ids: { containerId: "c1" } });
  await tracing?.close();
  expect(collector.requests).toEqual(["/v1/traces application/x-protobuf"]);
  const span = collector.spans.find(({ name }) => name === "StopContainer");
  expect(span).toMatchObject({
    traceId: TRACE,
    parentSpanId: "b7ad6b7169203331",
    kind: 2,
    attributes: { "rpc.response.status_code": "DeadlineExceeded", "podrt.containerId": "c1" },
    statusCode: 2,
    statusMessage: "stuck",
    resource: { "service.name": "podrt", "k8s.node.name": "n1" },
  });
  const phases = collector.spans.filter(({ parentSpanId }) => parentSpanId === span?.spanId);
  expect(phases.map(({ name }) => name)).toEqual(["grace", "kill"]);
  for (const phase of phases) {
    expect(phase.startNs >= span!.startNs && phase.endNs <= span!.endNs).toBe(true);
    expect(phase.traceId).toBe(TRACE);
  }
});

test("what the daemon does by itself begins a trace", async () => {
  using collector = startCollector();
  const tracing = await tracingWith({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.endpoint}/own/path`,
    OTEL_SERVICE_NAME: "node-7",
  });
  await runOperation("RunPodSandbox", async () => {});
  await tracing?.close();
  expect(collector.requests).toEqual(["/own/path application/x-protobuf"]);
  expect(collector.spans).toMatchObject([
    {
      name: "RunPodSandbox",
      parentSpanId: "",
      kind: 1,
      statusCode: 0,
      resource: { "service.name": "node-7" },
    },
  ]);
});

test("the sampler decides, and the client's decision before it", async () => {
  using collector = startCollector();
  const tracing = await tracingWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "0",
  });
  for (const flags of ["00", "01"]) {
    endOperation(beginCall(`flags ${flags}`, `00-${TRACE}-b7ad6b7169203331-${flags}`), { code: "OK" });
  }
  endOperation(beginCall("no parent", undefined), { code: "OK" });
  await tracing?.close();
  expect(collector.spans.map(({ name }) => name)).toEqual(["flags 01"]);
});

test("a collector that does not answer costs nothing but its spans", async () => {
  const tracing = await tracingWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
    OTEL_EXPORTER_OTLP_TIMEOUT: "200",
  });
  await expect(runOperation("Version", async () => "answered")).resolves.toBe("answered");
  await expect(tracing?.close()).resolves.toBeUndefined();
});

test("nothing is traced without an endpoint, or where it is switched off", async () => {
  expect(await tracingWith({})).toBeUndefined();
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1";
  expect(await tracingWith({ OTEL_TRACES_EXPORTER: "none" })).toBeUndefined();
  expect(await tracingWith({ OTEL_TRACES_EXPORTER: "otlp", OTEL_SDK_DISABLED: "true" })).toBeUndefined();
});

test("what is not supported is refused by the variable's name", async () => {
  for (const [name, value] of [
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"],
    ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"],
    ["OTEL_TRACES_EXPORTER", "zipkin"],
    ["OTEL_TRACES_SAMPLER", "sometimes"],
    ["OTEL_TRACES_SAMPLER_ARG", "1.5"],
    ["OTEL_BSP_MAX_QUEUE_SIZE", "many"],
  ] as const) {
    clean();
    const starting = tracingWith({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", [name]: value });
    await expect(starting).rejects.toThrow(`${name}: ${JSON.stringify(value)} is not supported`);
  }
});
