// SPDX-License-Identifier: Apache-2.0
import { createCipheriv, createHash } from "node:crypto";
import { digestOf } from "../../../src/oci/digest.ts";
import { fakeImage, OCI_INDEX } from "../../fixtures/fake-registry.ts";
import { imageArchitecture } from "../../fixtures/images/layout.ts";
import { tarOf } from "../../fixtures/tar-writer.ts";
import { type Fault, sendAnswer, type Truth } from "./answers.ts";
import type { Case, Step } from "./faults.ts";
import { type RawRequest, type RawServer, startRawServer, type Wire } from "./wire.ts";

export interface FaultRegistry extends RawServer {
  /** Serves an image under `STEP/NAME:1`; answers its reference. */
  add(wanted: Case): string;
  /** From now on the truth is told at this request, or at every one. */
  cure(reference?: string): void;
  /** Makes the image of that name another one. */
  replace(reference: string): void;
  /** The Authorization header of each request that had one. */
  readonly heard: readonly string[];
}

interface Served {
  readonly step: Step;
  readonly fault: Fault;
  readonly documents: Map<string, Truth>;
  /** Which step a tag or digest is asked for at. */
  readonly roles: Map<string, Step>;
  isCured: boolean;
  turn: number;
}

const TOKEN = "token-of-the-test";
const CHALLENGED = 401;

/** A registry that wants a token and tells the truth, but for one request of each image. */
export async function startFaultRegistry(tls?: {
  readonly key: string;
  readonly cert: string;
}): Promise<FaultRegistry> {
  const images = new Map<string, Served>();
  const heard: string[] = [];
  let version = 0;

  const answer = (request: RawRequest, wire: Wire): void => {
    const authorization = request.headers.get("authorization");
    if (authorization !== undefined) heard.push(authorization);
    const url = new URL(request.target, origin);
    const scope = url.searchParams.get("scope") ?? "";
    const repository =
      /^repository:(.+):pull$/.exec(scope)?.[1] ??
      /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(url.pathname)?.[1];
    const image = images.get(repository ?? "");
    if (image === undefined) {
      sendAnswer(notFound, request, wire);
      return;
    }
    const step = stepOf(image, request, url.pathname);
    const truth = truthOf(image, request, url.pathname);
    if (step === image.step && !image.isCured) {
      image.turn++;
      image.fault({ truth, request, wire, turn: image.turn, origin });
      return;
    }
    // So that there is something to resume.
    if (image.step === "resume" && step === "layer-2" && !image.isCured && image.turn === 0) {
      wire.send(`HTTP/1.1 200 X\r\nContent-Length: ${truth.body.length}\r\n\r\n`);
      wire.send(truth.body.subarray(0, truth.body.length >> 1));
      setTimeout(() => wire.reset(), 50);
      return;
    }
    sendAnswer(truth, request, wire);
  };

  const truthOf = (image: Served, request: RawRequest, path: string): Truth => {
    if (path === "/token")
      return { status: 200, headers: json, body: Buffer.from(JSON.stringify({ token: TOKEN })) };
    if (request.headers.get("authorization") !== `Bearer ${TOKEN}`) {
      const challenge = `Bearer realm="${origin}/token",service="test"`;
      return { status: CHALLENGED, headers: { "www-authenticate": challenge }, body: new Uint8Array() };
    }
    const whole = image.documents.get(path.split("/").at(-1) ?? "") ?? notFound;
    const start = /^bytes=(\d+)-$/.exec(request.headers.get("range") ?? "")?.[1];
    if (start === undefined || whole === notFound) return whole;
    const range = `bytes ${start}-${whole.body.length - 1}/${whole.body.length}`;
    return {
      status: 206,
      headers: { ...whole.headers, "content-range": range },
      body: whole.body.subarray(Number(start)),
    };
  };

  const stepOf = (image: Served, request: RawRequest, path: string): Step | undefined => {
    if (path === "/token") return "token";
    if (request.headers.get("authorization") === undefined) return "challenge";
    if (request.method === "HEAD") return "resolve";
    if (request.headers.has("range")) return "resume";
    return image.roles.get(path.split("/").at(-1) ?? "");
  };

  const serve = (repository: string, { step, fault }: Pick<Case, "step" | "fault">) => {
    images.set(repository, {
      ...imageOf(`${repository} ${version++}`),
      step,
      fault,
      isCured: false,
      turn: 0,
    });
  };

  const server = await startRawServer(answer, tls);
  const origin = `${tls === undefined ? "http" : "https"}://${server.host}`;
  const imageAt = (reference: string) =>
    images.get(reference.slice(server.host.length + 1, -":1".length)) as Served;
  return Object.assign(server, {
    add(wanted: Case) {
      serve(`${wanted.step}/${wanted.name}`, wanted);
      return `${server.host}/${wanted.step}/${wanted.name}:1`;
    },
    cure(reference?: string) {
      for (const image of reference === undefined ? images.values() : [imageAt(reference)])
        image.isCured = true;
    },
    replace(reference: string) {
      const repository = reference.slice(server.host.length + 1, -":1".length);
      serve(repository, imageAt(reference));
    },
    heard,
  });
}

const json = { "content-type": "application/json" };
const notFound: Truth = {
  status: 404,
  headers: json,
  body: Buffer.from(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] })),
};

/** An image of an index, a manifest, a configuration and two layers that no other image has. */
function imageOf(label: string): Pick<Served, "documents" | "roles"> {
  const layer = (name: string, bytes: number) =>
    tarOf([{ name, content: Buffer.concat([Buffer.from(label), noise(`${label} ${name}`, bytes)]) }]);
  const image = fakeImage([layer("small", 2000), layer("large", 40_000)], { config: { Labels: { label } } });
  const platform = { os: "linux", architecture: imageArchitecture };
  const manifest = {
    mediaType: image.mediaType,
    digest: image.manifestDigest,
    size: image.manifest.length,
    platform,
  };
  const index = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [manifest] }),
  );
  const [small, large] = image.layers.map(({ digest }) => digest) as [string, string];
  const document = (bytes: Uint8Array, type: string): Truth => ({
    status: 200,
    headers: { "content-type": type, "docker-content-digest": digestOf(bytes) },
    body: bytes,
  });
  return {
    documents: new Map([
      ["1", document(index, OCI_INDEX)],
      [image.manifestDigest, document(image.manifest, image.mediaType)],
      ...[...image.blobs].map(
        ([digest, bytes]) => [digest, document(bytes, "application/octet-stream")] as const,
      ),
    ]),
    roles: new Map<string, Step>([
      ["1", "index"],
      [image.manifestDigest, "manifest"],
      [image.configDigest, "config"],
      [small, "layer-1"],
      [large, "layer-2"],
    ]),
  };
}

/** Bytes that no compression makes fewer, the same for the same seed. */
function noise(seed: string, length: number): Buffer {
  const key = createHash("sha256").update(seed).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}
