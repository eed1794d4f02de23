// SPDX-License-Identifier: Apache-2.0
import { gunzipSync } from "node:zlib";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server. */
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, string>>;
  /** 0 unset, 2 error. */
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly resource: Readonly<Record<string, string>>;
}

export interface Collector extends Disposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly endpoint: string;
  readonly spans: readonly CollectedSpan[];
  /** Path and content type of each request. */
  readonly requests: readonly string[];
}

/** A collector on loopback that takes traces over OTLP, http/protobuf, and keeps them. */
export function startCollector(): Collector {
  const spans: CollectedSpan[] = [];
  const requests: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      requests.push(`${new URL(request.url).pathname} ${request.headers.get("content-type")}`);
      const encoded = await request.bytes();
      const isPacked = request.headers.get("content-encoding") === "gzip";
      spans.push(...spansOf(isPacked ? gunzipSync(encoded) : encoded));
      return new Response(new Uint8Array(0), { headers: { "content-type": "application/x-protobuf" } });
    },
  });
  return {
    endpoint: `http://127.0.0.1:${server.port}`,
    spans,
    requests,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

type Field = { readonly bytes: Uint8Array; readonly number: bigint };

/** The fields of a message, by their numbers. */
function fieldsOf(message: Uint8Array): Map<number, Field[]> {
  const reader = new BinaryReader(message);
  const fields = new Map<number, Field[]>();
  const none = new Uint8Array(0);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const field =
      type === WireType.LengthDelimited
        ? { bytes: reader.bytes(), number: 0n }
        : { bytes: none, number: numberOf(reader, type) };
    fields.set(number, [...(fields.get(number) ?? []), field]);
  }
  return fields;
}

function numberOf(reader: BinaryReader, type: WireType): bigint {
  if (type === WireType.Varint) return BigInt(reader.uint64());
  if (type === WireType.Bit64) return BigInt(reader.fixed64());
  return BigInt(reader.fixed32());
}

const messages = (fields: Map<number, Field[]>, number: number) =>
  (fields.get(number) ?? []).map(({ bytes }) => fieldsOf(bytes));
const hex = (fields: Map<number, Field[]>, number: number) =>
  Buffer.from(fields.get(number)?.[0]?.bytes ?? []).toString("hex");
const text = (fields: Map<number, Field[]>, number: number) =>
  Buffer.from(fields.get(number)?.[0]?.bytes ?? []).toString();
const integer = (fields: Map<number, Field[]>, number: number) => fields.get(number)?.[0]?.number ?? 0n;

/** opentelemetry/proto/trace/v1/trace.proto; of values only strings. */
function spansOf(request: Uint8Array): CollectedSpan[] {
  return messages(fieldsOf(request), 1).flatMap((resourceSpans) => {
    const resource = attributesOf(messages(resourceSpans, 1)[0] ?? new Map(), 1);
    return messages(resourceSpans, 2)
      .flatMap((scope) => messages(scope, 2))
      .map((span) => {
        const status = messages(span, 15)[0] ?? new Map<number, Field[]>();
        return {
          traceId: hex(span, 1),
          spanId: hex(span, 2),
          parentSpanId: hex(span, 4),
          name: text(span, 5),
          kind: Number(integer(span, 6)),
          startNs: integer(span, 7),
          endNs: integer(span, 8),
          attributes: attributesOf(span, 9),
          statusCode: Number(integer(status, 3)),
          statusMessage: text(status, 2),
          resource,
        };
      });
  });
}

function attributesOf(message: Map<number, Field[]>, number: number): Record<string, string> {
  const pairs = messages(message, number).map((pair) => [
    text(pair, 1),
    text(messages(pair, 2)[0] ?? new Map(), 1),
  ]);
  return Object.fromEntries(pairs);
}
